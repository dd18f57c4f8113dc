-- What the stop rule says after each round: the fitted asymptote of the learning curve, the gain that is left, and what another
-- round would bring. The experiment ends where `ends` is true and no later round was asked for.
--   $experiment = null  one experiment; null: all
-- Source: learning curves as power laws, arXiv 2402.02515.
SELECT experiment, round, metric, x, unit, value, asymptote, gain, per_round, tau, in_a_row, ends, why
FROM lake.predicted_gain
WHERE $experiment::VARCHAR IS NULL OR experiment = $experiment
ORDER BY experiment, round
