-- What each step of each round cost: seconds of wall time, rows, tokens (of answers, or consumed by training; null for steps
-- that handle none). A reused step shows the seconds of its copy.
WITH answered AS (
    SELECT
        experiment,
        round,
        CASE part WHEN 'rollout' THEN 'generations' ELSE regexp_replace(part, '^followup/', '') || '_generations' END AS step,
        sum(response_tokens)::BIGINT AS tokens
    FROM generations
    WHERE part <> 'train' AND NOT starts_with(part, 'train/') -- what training sampled: its step counts what it consumed
    GROUP BY experiment, round, part
),

trained AS (
    SELECT
        experiment,
        round,
        CASE part WHEN 'policy' THEN 'checkpoint' ELSE 'checkpoint_' || part END AS step,
        arg_max(tokens, {'at': "at", 'attempt': attempt}) AS tokens
    FROM checkpoints
    GROUP BY experiment, round, part
),

counted AS (
    SELECT experiment, round, step, tokens FROM answered
    UNION ALL
    SELECT experiment, round, step, tokens FROM trained
)

SELECT
    s.experiment,
    s.round,
    s.step,
    s.state,
    s.seconds,
    s.rows_in,
    s.rows_out,
    counted.tokens,
    CASE WHEN s.seconds > 0 THEN s.rows_out / s.seconds END AS rows_per_second,
    CASE WHEN s.seconds > 0 THEN counted.tokens / s.seconds END AS tokens_per_second,
    s.reused_from,
    s."at"
FROM steps AS s
LEFT JOIN counted ON counted.experiment = s.experiment AND counted.round = s.round AND counted.step = s.step
WHERE s.step NOT IN ('opening', 'device')
