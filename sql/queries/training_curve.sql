-- A number of the training log over the steps of all rounds: loss, grad_norm, learning_rate, rewards/margins, kl, ...
--   $metric = "loss"    the number's name
--   $experiment = null  one experiment; null: all
--   $role = "policy"    the model that trains
SELECT experiment, role, metric, total_step, value, round, step
FROM lake.training_curve
WHERE metric = $metric AND role = $role AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
ORDER BY experiment, total_step
