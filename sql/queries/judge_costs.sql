-- What scoring cost: rows, those that were asked in this step (the others were known from an earlier one), tokens, seconds and
-- money, by scorer or judge and round.
--   $experiment = null     one experiment; null: all
--   $prompt_price = 0.0    of a million tokens that a judge reads, in any currency
--   $response_price = 0.0  of a million tokens that it writes
WITH work AS (
    SELECT experiment, round, part, scorer, item_id AS item, seconds, prompt_tokens, response_tokens
    FROM lake.scores
    UNION ALL
    SELECT experiment, round, part, judge, left_id || right_id || "order", seconds, prompt_tokens, response_tokens
    FROM lake.preferences
    WHERE "order" <> 'both'
)

SELECT
    experiment,
    round,
    part,
    scorer,
    count(*) AS answers,
    count(*) FILTER (WHERE seconds > 0 OR prompt_tokens > 0) AS asked,
    sum(prompt_tokens)::BIGINT AS prompt_tokens,
    sum(response_tokens)::BIGINT AS response_tokens,
    fsum(seconds ORDER BY item) AS seconds,
    (coalesce(sum(prompt_tokens), 0) * $prompt_price::DOUBLE + coalesce(sum(response_tokens), 0) * $response_price::DOUBLE)
    / 1e6 AS cost
FROM work
WHERE $experiment::VARCHAR IS NULL OR experiment = $experiment
GROUP BY experiment, round, part, scorer
HAVING count(seconds) + count(prompt_tokens) > 0
ORDER BY experiment, round, part, scorer
