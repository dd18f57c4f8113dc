-- Every logged number of every training that counts, a row for each experiment, round, role, metric and entry. step: optimizer steps
-- done in the round; total_step: the same over all rounds of the role, the base included; steps: how many the entry is the mean over.
WITH newest AS (
    SELECT experiment, round, part, arg_max(digest, {'at': "at", 'attempt': attempt}) AS digest
    FROM checkpoints
    GROUP BY experiment, round, part
),

logged AS (
    SELECT l.experiment, l.round, l.part, l.digest, l.metric, l.step, l.value
    FROM training_log AS l
    INNER JOIN newest AS n ON n.experiment = l.experiment AND n.round = l.round AND n.part = l.part AND n.digest = l.digest
),

lengths AS (
    SELECT experiment, round, part, max(step) AS steps
    FROM logged
    GROUP BY experiment, round, part
),

offsets AS (
    SELECT experiment, round, part, coalesce(sum(steps) OVER earlier, 0)::BIGINT AS before
    FROM lengths
    WINDOW earlier AS (PARTITION BY experiment, part ORDER BY round ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)

SELECT
    l.experiment,
    l.round,
    l.part AS role,
    l.digest,
    l.metric,
    l.step,
    o.before + l.step AS total_step,
    l.step - coalesce(lag(l.step) OVER entries, 0) AS steps,
    l.value
FROM logged AS l
INNER JOIN offsets AS o ON o.experiment = l.experiment AND o.round = l.round AND o.part = l.part
WINDOW entries AS (PARTITION BY l.experiment, l.round, l.part, l.metric ORDER BY l.step)
