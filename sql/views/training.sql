-- A row for each training that counts (experiment, round, role): what went in, how fast, and how its numbers moved from the first
-- entry of the log to the last. tokens_per_second counts loading too; loss is the mean over all steps, loss_least the smallest
-- entry; grad_norm the mean before clipping, clipped the share of steps that were clipped; accuracy the share of pairs whose chosen
-- answer has the higher reward; kl in nats a token. Null where the objective has no such number. Imported models have no row.
WITH newest AS (
    SELECT
        experiment,
        round,
        part,
        arg_max(
            {
                'digest': digest, 'objective': objective, 'rows': rows_trained, 'tokens': tokens, 'steps': steps, 'loss': loss,
                'seconds': seconds
            },
            {'at': "at", 'attempt': attempt}
        ) AS made
    FROM checkpoints
    GROUP BY experiment, round, part
),

moved AS (
    SELECT
        experiment,
        round,
        role,
        CASE metric WHEN 'accuracy' THEN 'rewards/accuracies' WHEN 'margin' THEN 'rewards/margins' ELSE metric END AS metric,
        arg_min(value, step) AS first_value,
        arg_max(value, step) AS last_value,
        min(value) AS least,
        fsum(value * steps) / sum(steps) AS mean
    FROM training_curve
    GROUP BY ALL
),

numbers AS (
    SELECT
        experiment,
        round,
        role,
        max(first_value) FILTER (WHERE metric = 'loss') AS loss_first,
        max(last_value) FILTER (WHERE metric = 'loss') AS loss_last,
        max(least) FILTER (WHERE metric = 'loss') AS loss_least,
        max(last_value) FILTER (WHERE metric = 'held_out/loss') AS held_out_last,
        max(mean) FILTER (WHERE metric = 'grad_norm') AS grad_norm,
        max(mean) FILTER (WHERE metric = 'clipped') AS clipped,
        max(first_value) FILTER (WHERE metric = 'rewards/accuracies') AS accuracy_first,
        max(last_value) FILTER (WHERE metric = 'rewards/accuracies') AS accuracy_last,
        max(last_value) FILTER (WHERE metric = 'rewards/margins') AS margin_last,
        max(first_value) FILTER (WHERE metric = 'logps/chosen') AS chosen_logps_first,
        max(last_value) FILTER (WHERE metric = 'logps/chosen') AS chosen_logps_last,
        max(last_value) FILTER (WHERE metric = 'kl') AS kl_last
    FROM moved
    GROUP BY experiment, round, role
)

SELECT
    c.experiment,
    c.round,
    c.part AS role,
    c.made.digest AS digest,
    c.made.objective AS objective,
    c.made.rows AS "rows",
    c.made.tokens AS tokens,
    c.made.steps AS steps,
    c.made.seconds AS seconds,
    CASE WHEN c.made.seconds > 0 THEN c.made.tokens / c.made.seconds END AS tokens_per_second,
    c.made.loss AS loss,
    n.loss_first,
    n.loss_last,
    n.loss_least,
    n.held_out_last,
    n.grad_norm,
    n.clipped,
    n.accuracy_first,
    n.accuracy_last,
    n.margin_last,
    n.chosen_logps_first,
    n.chosen_logps_last,
    n.kl_last
FROM newest AS c
LEFT JOIN numbers AS n ON n.experiment = c.experiment AND n.round = c.round AND n.role = c.part
WHERE c.made.steps > 0
