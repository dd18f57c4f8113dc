-- Where the time goes: seconds, rows and tokens of each step, over all rounds of each experiment, the dearest first.
--   $experiment = null  one experiment; null: all
SELECT
    experiment,
    step,
    count(round) AS rounds,
    count(reused_from) AS reused,
    fsum(seconds) AS seconds,
    sum(rows_out)::BIGINT AS rows_out,
    sum(tokens)::BIGINT AS tokens
FROM lake.step_costs
WHERE $experiment::VARCHAR IS NULL OR experiment = $experiment
GROUP BY experiment, step
ORDER BY seconds DESC, experiment, step
