-- How each training went, a row a round and role: objective, rows, steps, speed, loss at the first entry of the log, at the last and at
-- its least, gradient norm before clipping and share of clipped steps, and for pairs the accuracy of the rewards and the KL divergence.
--   $experiment = null  one experiment; null: all
--   $role = null        one model; null: all
SELECT
    experiment,
    round,
    role,
    objective,
    "rows",
    steps,
    tokens_per_second,
    loss_first,
    loss_last,
    loss_least,
    held_out_last,
    grad_norm,
    clipped,
    accuracy_first,
    accuracy_last,
    kl_last
FROM lake.training
WHERE ($experiment::VARCHAR IS NULL OR experiment = $experiment) AND ($role::VARCHAR IS NULL OR role = $role)
ORDER BY experiment, role, round
