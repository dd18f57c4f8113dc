-- Signs that a training went wrong, a row for each training and sign that its log can tell: the number, its limit, and whether it is
-- beyond. chosen_logps: log-probability of the chosen answers, last quarter of the log against the first (batches differ, so small
-- falls say little); chosen_rewards: their reward against the reference in the last quarter (below 0 they became less likely:
-- likelihood displacement); accuracies: in the last quarter; kl: in the last quarter, nats a token; loss_spike: the largest entry as a
-- multiple of the median of the eight before it; clipped: share of steps whose gradient was clipped.
--   $experiment = null   one experiment; null: all
--   $role = null         one model; null: all
--   $accuracy = 0.55     rewards that rank pairs hardly better than a coin
--   $kl = 0.5            nats a token
--   $spike = 2.0         times the median before
--   $clipped = 0.5       share of the steps
-- Source: chosen_*: Razin et al., "Unintentional Unalignment", arXiv 2410.08847; the limits are rules of thumb.
WITH curve AS (
    SELECT
        experiment,
        round,
        role,
        CASE metric WHEN 'accuracy' THEN 'rewards/accuracies' ELSE metric END AS metric,
        step,
        steps,
        value
    FROM lake.training_curve
    WHERE ($experiment::VARCHAR IS NULL OR experiment = $experiment) AND ($role::VARCHAR IS NULL OR role = $role)
),

quarters AS (
    SELECT *, ntile(4) OVER (PARTITION BY experiment, round, role, metric ORDER BY step) AS quarter
    FROM curve
),

means AS (
    SELECT experiment, round, role, metric, quarter, fsum(value * steps) / sum(steps) AS mean
    FROM quarters
    GROUP BY experiment, round, role, metric, quarter
),

ends AS (
    SELECT
        experiment,
        round,
        role,
        metric,
        arg_min(mean, quarter) AS first_quarter,
        arg_max(mean, quarter) AS last_quarter,
        count(quarter) AS quarters
    FROM means
    GROUP BY experiment, round, role, metric
),

before AS (
    SELECT experiment, round, role, step, value, median(value) OVER eight AS usual, count(value) OVER eight AS entries
    FROM curve
    WHERE metric = 'loss'
    WINDOW eight AS (PARTITION BY experiment, round, role ORDER BY step ROWS BETWEEN 8 PRECEDING AND 1 PRECEDING)
),

signs AS (
    SELECT experiment, round, role, 'chosen_logps' AS alarm, last_quarter - first_quarter AS value, 0.0::DOUBLE AS limit_
    FROM ends
    WHERE metric = 'logps/chosen' AND quarters > 1
    UNION ALL
    SELECT experiment, round, role, 'chosen_rewards' AS alarm, last_quarter AS value, 0.0::DOUBLE AS limit_
    FROM ends
    WHERE metric = 'rewards/chosen'
    UNION ALL
    SELECT experiment, round, role, 'accuracies' AS alarm, last_quarter AS value, $accuracy::DOUBLE AS limit_
    FROM ends
    WHERE metric = 'rewards/accuracies'
    UNION ALL
    SELECT experiment, round, role, 'kl' AS alarm, last_quarter AS value, $kl::DOUBLE AS limit_
    FROM ends
    WHERE metric = 'kl'
    UNION ALL
    SELECT experiment, round, role, 'loss_spike' AS alarm, max(value / usual) AS value, $spike::DOUBLE AS limit_
    FROM before
    WHERE entries >= 3 AND usual > 0
    GROUP BY experiment, round, role
    UNION ALL
    SELECT experiment, round, role, 'clipped' AS alarm, fsum(value * steps) / sum(steps) AS value, $clipped::DOUBLE AS limit_
    FROM curve
    WHERE metric = 'clipped'
    GROUP BY experiment, round, role
)

SELECT
    experiment,
    round,
    role,
    alarm,
    value,
    limit_ AS "limit",
    CASE WHEN alarm IN ('chosen_logps', 'chosen_rewards', 'accuracies') THEN value < limit_ ELSE value > limit_ END AS is_beyond
FROM signs
ORDER BY experiment, role, round, alarm
