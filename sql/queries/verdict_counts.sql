-- How the verdicts of each scorer fell in each round: right, wrong, and what neither of them is (an answer that could not be
-- read, ran out of time, or failed), by what ran the answers' code. An unreadable answer counts as 0 in most means: here it shows.
--   $experiment = null  one experiment; null: all
--   $part = null        rollout, eval, ...; null: all
SELECT
    experiment,
    round,
    left(part, length(part) - length(scorer) - 1) AS answers_of,
    scorer,
    runner,
    count(*) AS answers,
    count(*) FILTER (WHERE verdict = 'right') AS "right",
    count(*) FILTER (WHERE verdict = 'wrong') AS wrong,
    count(*) FILTER (WHERE verdict = 'unparseable') AS unparseable,
    count(*) FILTER (WHERE verdict = 'timeout') AS timeout,
    count(*) FILTER (WHERE verdict = 'error') AS error,
    count(*) FILTER (WHERE verdict IS NULL) AS without_verdict,
    count(*) FILTER (WHERE value IS NULL) AS without_value
FROM lake.scores
WHERE
    item_kind = 'generation'
    AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
    AND ($part::VARCHAR IS NULL OR part = $part || '/' || scorer)
GROUP BY experiment, round, part, scorer, runner
ORDER BY experiment, round, part, scorer, runner NULLS FIRST
