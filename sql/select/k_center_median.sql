-- The most ordinary rows of every cluster: those whose distance to the centroid is nearest to the cluster's median distance.
-- A row is a prompt with its best answer (the highest score, ties to the earlier sample), so a prompt is chosen once.
--   $share = 0.5           rows to choose, as a share of those that may be chosen, rounded
--   $rows = null           rows to choose, instead of $share
--   $clusters = "prompt"   the entry of `cluster`, over prompts or the pool
--   $redistribute = false  true: what small clusters cannot give is taken from larger ones; false: it is not taken
--   $min_score = 1.0       an answer below it is never chosen
-- Source: the baseline k-center-median of Zhang et al., "Diversify and Conquer", arXiv 2409.11378. The median is over all
-- prompts of the cluster, also those without an answer that may be chosen; ties to the smaller prompt.
WITH best AS (
    SELECT
        prompt_id,
        generation_id
    FROM scored
    WHERE score >= $min_score
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id) = 1
),

middles AS (
    SELECT
        item_id,
        cluster_id,
        abs(distance - median(distance) OVER (PARTITION BY cluster_id)) AS off
    FROM clusters
    WHERE part = $clusters
),

pool AS (
    SELECT
        best.prompt_id,
        best.generation_id,
        coalesce(m.cluster_id, error(format('prompt {} has no cluster in the part {:s}', best.prompt_id, $clusters))::BIGINT) AS cluster_id,
        m.off
    FROM best
    LEFT JOIN middles AS m ON m.item_id = best.prompt_id
),

budget AS (
    SELECT
        coalesce($rows::BIGINT, round($share::DOUBLE * (SELECT count(prompt_id) FROM pool))::BIGINT) AS total,
        (SELECT count(DISTINCT cluster_id) FROM middles) AS k
),

sizes AS (
    SELECT
        list(cluster_id ORDER BY cluster_id) AS ids,
        list(n ORDER BY cluster_id) AS ns
    FROM (SELECT cluster_id, count(prompt_id) AS n FROM pool GROUP BY cluster_id)
),

quotas AS (
    SELECT
        unnest(sizes.ids) AS cluster_id,
        unnest(
            CASE
                WHEN $redistribute::BOOLEAN THEN water_fill(sizes.ns, budget.total)
                WHEN budget.total < budget.k
                    THEN error(format('{} rows over {} clusters are none a cluster: choose more rows, fewer clusters, or redistribute: true', budget.total, budget.k))
                ELSE list_transform(sizes.ns, lambda n: least(n, budget.total // budget.k))
            END
        ) AS quota
    FROM sizes, budget
)

SELECT
    p.prompt_id,
    p.generation_id,
    p.cluster_id,
    row_number() OVER middle AS rank,
    format('cluster {}, {:.4f} from its median distance', p.cluster_id, p.off) AS reason
FROM pool AS p
INNER JOIN quotas AS q ON q.cluster_id = p.cluster_id
WINDOW middle AS (PARTITION BY p.cluster_id ORDER BY p.off, p.prompt_id)
QUALIFY rank <= q.quota
