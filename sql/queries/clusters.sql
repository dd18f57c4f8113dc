-- Clusters by round: size, label, how tight and how far apart they are, how far they moved, and the mean score of the answers
-- in them (for clusters of prompts: of the round's answers to them).
--   $experiment = null  one experiment; null: all
--   $part = null        one entry of `cluster`, by name; null: all
WITH answers AS (
    SELECT experiment, round, item_id AS generation_id, prompt_id, value
    FROM lake.scores
    WHERE part = 'rollout/score' AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
),

members AS (
    SELECT experiment, round, part, item_id, cluster_id
    FROM lake.clusters
    WHERE ($experiment::VARCHAR IS NULL OR experiment = $experiment) AND ($part::VARCHAR IS NULL OR part = $part)
),

judged AS (  -- an item is an answer or a prompt, never both
    SELECT m.experiment, m.round, m.part, m.cluster_id, a.value
    FROM members AS m
    INNER JOIN answers AS a ON a.experiment = m.experiment AND a.round = m.round AND a.generation_id = m.item_id
    UNION ALL
    SELECT m.experiment, m.round, m.part, m.cluster_id, a.value
    FROM members AS m
    INNER JOIN answers AS a ON a.experiment = m.experiment AND a.round = m.round AND a.prompt_id = m.item_id
),

scored_clusters AS (
    SELECT experiment, round, part, cluster_id, count(value) AS answers, fsum(value) / count(value) AS mean_score
    FROM judged
    GROUP BY experiment, round, part, cluster_id
)

SELECT
    c.experiment,
    c.part,
    c.round,
    c.cluster_id,
    c.size,
    c.weight,
    c.label,
    coalesce(s.answers, 0) AS answers,
    s.mean_score,
    c.silhouette,
    c.distance,
    c.shift
FROM lake.cluster_stats AS c
LEFT JOIN scored_clusters AS s
    ON s.experiment = c.experiment AND s.round = c.round AND s.part = c.part AND s.cluster_id = c.cluster_id
WHERE ($experiment::VARCHAR IS NULL OR c.experiment = $experiment) AND ($part::VARCHAR IS NULL OR c.part = $part)
ORDER BY c.experiment, c.part, c.round, c.size DESC, c.cluster_id
