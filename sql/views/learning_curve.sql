-- Every metric over all topics, a row for each experiment, round (-1 is the base), suite and metric, with the checkpoint
-- that was measured and what was decided about it.
WITH newest AS (
    SELECT experiment, round, part, arg_max(digest, {'at': "at", 'attempt': attempt}) AS digest
    FROM checkpoints
    GROUP BY experiment, round, part
)

SELECT
    e.experiment,
    e.round,
    e.part AS role,
    e.suite,
    e.metric,
    e.value,
    e.stderr,
    e.n,
    newest.digest,
    d.decision
FROM evaluations AS e
LEFT JOIN newest ON newest.experiment = e.experiment AND newest.round = e.round AND newest.part = e.part
LEFT JOIN decisions AS d ON d.experiment = e.experiment AND d.round = e.round AND d.role = e.part
WHERE e.topic IS NULL
