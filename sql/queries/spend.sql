-- What each experiment has spent on answers and on judging them, over all rounds, evaluation and calibration included: answers
-- that were made (copied ones cost nothing), tokens, seconds, money where the spec has prices, requests to servers.
--   $experiment = null  one experiment; null: all
-- lake.spend has the same by round, part, actor and model.
SELECT
    experiment,
    kind,
    sum(answers - copied)::BIGINT AS answers,
    sum(copied)::BIGINT AS copied,
    sum(prompt_tokens)::BIGINT AS prompt_tokens,
    sum(response_tokens)::BIGINT AS response_tokens,
    fsum(seconds ORDER BY round, part, actor, model) AS seconds,
    fsum(cost ORDER BY round, part, actor, model) AS cost,
    sum(requests)::BIGINT AS requests,
    sum(retries)::BIGINT AS retries
FROM lake.spend
WHERE $experiment::VARCHAR IS NULL OR experiment = $experiment
GROUP BY experiment, kind
ORDER BY experiment, kind
