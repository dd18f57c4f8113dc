-- The status table: a row for each round, the base (-1) first. pass_rate: share of the rollouts with score >= 1; kept: rows
-- chosen in this round itself; trained: rows that the checkpoint consumed, carried ones included; metric: pass@1, else mean,
-- else the first by name; gate, test, test_stderr: that metric; policy_in generates, policy_out is what the round leaves.
WITH spine AS (
    SELECT
        experiment,
        round,
        fsum(seconds) AS seconds,
        any_value(detail ->> '$.digest') FILTER (WHERE step = 'policy') AS policy_in
    FROM steps
    GROUP BY experiment, round
),

asked AS (
    SELECT experiment, round, count(prompt_id) AS prompts
    FROM prompts
    WHERE part = 'train'
    GROUP BY experiment, round
),

answered AS (
    SELECT experiment, round, count(generation_id) AS answers
    FROM generations
    WHERE part = 'rollout'
    GROUP BY experiment, round
),

judged AS (
    SELECT experiment, round, count(item_id) FILTER (WHERE value >= 1) / count(item_id) AS pass_rate
    FROM scores
    WHERE part = 'rollout/score'
    GROUP BY experiment, round
),

chosen AS (
    SELECT experiment, round, count(row_id) FILTER (WHERE source_round = round) AS kept
    FROM selected
    WHERE part = 'policy'
    GROUP BY experiment, round
),

newest AS (
    SELECT
        experiment,
        round,
        arg_max(rows_trained, {'at': "at", 'attempt': attempt}) AS trained,
        arg_max(digest, {'at': "at", 'attempt': attempt}) AS checkpoint
    FROM checkpoints
    WHERE part = 'policy'
    GROUP BY experiment, round
),

best AS (
    SELECT experiment, round, suite, metric, value, stderr
    FROM evaluations
    WHERE topic IS NULL AND part = 'policy'
    QUALIFY row_number() OVER (
        PARTITION BY experiment, round, suite
        ORDER BY CASE metric WHEN 'pass@1' THEN 0 WHEN 'mean' THEN 1 ELSE 2 END, metric
    ) = 1
),

measured AS (
    SELECT
        experiment,
        round,
        max(metric) AS metric,
        max(value) FILTER (WHERE suite = 'gate') AS gate,
        max(value) FILTER (WHERE suite = 'test') AS test,
        max(stderr) FILTER (WHERE suite = 'test') AS test_stderr
    FROM best
    GROUP BY experiment, round
)

SELECT
    spine.experiment,
    spine.round,
    asked.prompts,
    answered.answers,
    judged.pass_rate,
    chosen.kept,
    newest.trained,
    measured.metric,
    measured.gate,
    measured.test,
    measured.test_stderr,
    d.decision,
    d.reason,
    spine.policy_in,
    newest.checkpoint,
    CASE WHEN d.decision IN ('promoted', 'forced', 'rolled_back') THEN d.digest ELSE spine.policy_in END AS policy_out,
    spine.seconds
FROM spine
LEFT JOIN asked ON asked.experiment = spine.experiment AND asked.round = spine.round
LEFT JOIN answered ON answered.experiment = spine.experiment AND answered.round = spine.round
LEFT JOIN judged ON judged.experiment = spine.experiment AND judged.round = spine.round
LEFT JOIN chosen ON chosen.experiment = spine.experiment AND chosen.round = spine.round
LEFT JOIN newest ON newest.experiment = spine.experiment AND newest.round = spine.round
LEFT JOIN measured ON measured.experiment = spine.experiment AND measured.round = spine.round
LEFT JOIN decisions AS d ON d.experiment = spine.experiment AND d.round = spine.round AND d.role = 'policy'
ORDER BY spine.experiment, spine.round
