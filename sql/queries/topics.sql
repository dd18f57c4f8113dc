-- A metric by topic over rounds: which kinds of prompts improve.
--   $experiment = null   one experiment; null: all
--   $suite = "test"      gate or test
--   $metric = "pass@1"   the metric
SELECT experiment, topic, round, value, stderr, n
FROM lake.evaluations
WHERE topic IS NOT NULL AND suite = $suite AND metric = $metric AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
ORDER BY experiment, topic, round
