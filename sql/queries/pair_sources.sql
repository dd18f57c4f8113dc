-- Where the pairs that train come from, by round: origin and the round that they were made in (carried and replayed ones are from an
-- earlier round), with their mean margin and soft label.
--   $experiment = null  one experiment; null: all
SELECT
    experiment,
    round,
    part AS role,
    origin,
    source_round,
    count(row_id) AS pairs,
    count(DISTINCT prompt_id) AS prompts,
    count(row_id) / sum(count(row_id)) OVER (PARTITION BY experiment, round, part) AS share,
    fsum(weight ORDER BY row_id) AS weight,
    fsum(margin ORDER BY row_id) / nullif(count(margin), 0) AS mean_margin,
    fsum(probability ORDER BY row_id) / nullif(count(probability), 0) AS mean_probability
FROM lake.pairs
WHERE $experiment::VARCHAR IS NULL OR experiment = $experiment
GROUP BY experiment, round, part, origin, source_round
ORDER BY experiment, round, role, origin, source_round
