-- The status table of an experiment: a row a round, the base first.
--   $experiment = null  one experiment; null: all
SELECT experiment, round, prompts, answers, pass_rate, kept, trained, metric, gate, test, test_stderr, decision, policy_in, policy_out, seconds
FROM lake.rounds
WHERE $experiment::VARCHAR IS NULL OR experiment = $experiment
ORDER BY experiment, round
