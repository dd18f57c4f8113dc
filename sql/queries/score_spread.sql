-- Every scorer's numbers by round: how many answers have one, mean, standard deviation, smallest, 5th, 50th and 95th percentile, largest.
--   $experiment = null  one experiment; null: all
--   $part = "rollout"   rollout, eval, calibrate or followup/NAME
--   $scorer = null      one scorer; null: all
WITH numbers AS (
    SELECT experiment, round, scorer, item_id, value
    FROM lake.scores
    WHERE
        part = $part || '/' || scorer
        AND segment IS NULL
        AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
        AND ($scorer::VARCHAR IS NULL OR scorer = $scorer)
),

means AS (
    SELECT experiment, round, scorer, fsum(value) / nullif(count(value), 0) AS mean
    FROM numbers
    GROUP BY experiment, round, scorer
)

SELECT
    n.experiment,
    n.round,
    n.scorer,
    count(n.item_id) AS answers,
    count(n.item_id) - count(n.value) AS without_number,
    any_value(m.mean) AS mean,
    sqrt(fsum((n.value - m.mean) ** 2) / nullif(count(n.value) - 1, 0)) AS deviation,
    min(n.value) AS smallest,
    quantile_cont(n.value, 0.05) AS p5,
    quantile_cont(n.value, 0.5) AS median,
    quantile_cont(n.value, 0.95) AS p95,
    max(n.value) AS largest
FROM numbers AS n
INNER JOIN means AS m ON m.experiment = n.experiment AND m.round = n.round AND m.scorer = n.scorer
GROUP BY n.experiment, n.round, n.scorer
ORDER BY n.experiment, n.round, n.scorer
