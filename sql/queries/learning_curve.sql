-- How a metric moves over rounds, with its standard error and what was decided.
--   $experiment = null  one experiment; null: all
--   $suite = "test"     gate or test
--   $metric = null      one metric; null: all
SELECT experiment, round, metric, value, stderr, n, decision, digest
FROM lake.learning_curve
WHERE suite = $suite
    AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
    AND ($metric::VARCHAR IS NULL OR metric = $metric)
ORDER BY experiment, metric, round, digest
