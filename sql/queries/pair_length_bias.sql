-- What the pairs owe to length, by round: longer_chosen is the share of pairs with sides of different length whose chosen one is the
-- longer (0.5: length tells nothing); mean lengths of both sides in characters; correlation of the margin and the difference in length.
--   $experiment = null  one experiment; null: all
--   $fresh = true       only pairs made in the round itself, none that are carried along
WITH sized AS (
    SELECT
        experiment,
        round,
        part AS role,
        row_id,
        margin,
        list_sum(list_transform(chosen, lambda m: length(m.content)))::DOUBLE AS chosen_size,
        list_sum(list_transform(rejected, lambda m: length(m.content)))::DOUBLE AS rejected_size
    FROM lake.pairs
    WHERE ($experiment::VARCHAR IS NULL OR experiment = $experiment) AND (NOT $fresh::BOOLEAN OR source_round = round)
)

SELECT
    experiment,
    round,
    role,
    count(row_id) AS pairs,
    count(row_id) FILTER (WHERE chosen_size > rejected_size)
    / nullif(count(row_id) FILTER (WHERE chosen_size <> rejected_size), 0) AS longer_chosen,
    fsum(chosen_size ORDER BY row_id) / nullif(count(chosen_size), 0) AS chosen_length,
    fsum(rejected_size ORDER BY row_id) / nullif(count(rejected_size), 0) AS rejected_length,
    pearson(
        list(margin ORDER BY row_id) FILTER (WHERE margin IS NOT NULL),
        list(chosen_size - rejected_size ORDER BY row_id) FILTER (WHERE margin IS NOT NULL)
    ) AS margin_correlation
FROM sized
GROUP BY experiment, round, role
ORDER BY experiment, round, role
