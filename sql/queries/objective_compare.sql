-- Objectives side by side, a row for each experiment, role and round that trained: settings, how the training went, and for the policy
-- the held-out metric with its rise against the base (metric, test: as in @rounds).
--   $left = null       only this experiment and $right; null: all
--   $right = null      see $left
--   $role = "policy"   the model that trains
WITH settings AS (
    SELECT
        experiment,
        round,
        part,
        arg_max(settings, {'at': "at", 'attempt': attempt}) AS made
    FROM lake.checkpoints
    GROUP BY experiment, round, part
),

bases AS (
    SELECT experiment, metric, test
    FROM lake.rounds
    WHERE round = -1
)

SELECT
    t.objective,
    t.experiment,
    t.round,
    s.made ->> '$.train.init' AS init,
    s.made ->> '$.train.reference' AS reference,
    (s.made ->> '$.train.learning_rate')::DOUBLE AS learning_rate,
    s.made ->> '$.train.params' AS params,
    t."rows",
    t.steps,
    t.tokens_per_second,
    t.loss_first,
    t.loss_last,
    t.grad_norm,
    t.accuracy_last,
    t.margin_last,
    t.kl_last,
    r.metric,
    r.test,
    r.test_stderr,
    r.test - b.test AS rise
FROM lake.training AS t
INNER JOIN settings AS s ON s.experiment = t.experiment AND s.round = t.round AND s.part = t.role
LEFT JOIN lake.rounds AS r ON r.experiment = t.experiment AND r.round = t.round AND t.role = 'policy'
LEFT JOIN bases AS b ON b.experiment = r.experiment AND b.metric = r.metric
WHERE
    t.role = $role
    AND t.round >= 0
    AND (($left::VARCHAR IS NULL AND $right::VARCHAR IS NULL) OR t.experiment IN ($left::VARCHAR, $right::VARCHAR))
ORDER BY t.objective, t.experiment, t.round
