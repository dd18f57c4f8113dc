-- Which clusters the selection favours, and how that drifts: a cluster's share of the rows selected in a round (of that round's
-- own answers) against its share of the items that were clustered. lift 1 is neither favoured nor neglected; lift_change is
-- against the round before.
--   $experiment = null  one experiment; null: all
--   $part = null        one entry of `cluster`, by name; null: all
--   $role = "policy"    whose selection
WITH chosen AS (
    SELECT experiment, round, row_id, prompt_id, generation_id
    FROM lake.selected
    WHERE part = $role AND source_round = round AND round >= 0 AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
),

members AS (
    SELECT experiment, round, part, item_id, cluster_id
    FROM lake.clusters
    WHERE ($experiment::VARCHAR IS NULL OR experiment = $experiment) AND ($part::VARCHAR IS NULL OR part = $part)
),

placed AS (  -- an item is an answer or a prompt, never both
    SELECT m.experiment, m.round, m.part, m.cluster_id
    FROM members AS m
    INNER JOIN chosen AS c ON c.experiment = m.experiment AND c.round = m.round AND c.generation_id = m.item_id
    UNION ALL
    SELECT m.experiment, m.round, m.part, m.cluster_id
    FROM members AS m
    INNER JOIN chosen AS c ON c.experiment = m.experiment AND c.round = m.round AND c.prompt_id = m.item_id
),

counted AS (
    SELECT experiment, round, part, cluster_id, count(cluster_id) AS selected
    FROM placed
    GROUP BY experiment, round, part, cluster_id
),

shares AS (
    SELECT
        s.experiment,
        s.part,
        s.round,
        s.cluster_id,
        s.label,
        s.size,
        s.weight AS share,
        coalesce(n.selected, 0) AS selected,
        coalesce(n.selected, 0) / nullif(sum(coalesce(n.selected, 0)) OVER (PARTITION BY s.experiment, s.part, s.round), 0)
            AS selected_share
    FROM lake.cluster_stats AS s
    LEFT JOIN counted AS n ON n.experiment = s.experiment AND n.round = s.round AND n.part = s.part AND n.cluster_id = s.cluster_id
    WHERE ($experiment::VARCHAR IS NULL OR s.experiment = $experiment) AND ($part::VARCHAR IS NULL OR s.part = $part)
),

lifts AS (
    SELECT *, selected_share / nullif(share, 0) AS lift FROM shares
)

SELECT
    now.experiment,
    now.part,
    now.round,
    now.cluster_id,
    now.label,
    now.size,
    now.share,
    now.selected,
    now.selected_share,
    now.lift,
    now.lift - before.lift AS lift_change
FROM lifts AS now
LEFT JOIN lifts AS before
    ON before.experiment = now.experiment
    AND before.part = now.part
    AND before.cluster_id = now.cluster_id
    AND before.round = now.round - 1
ORDER BY now.experiment, now.part, now.round, now.lift DESC NULLS LAST, now.cluster_id
