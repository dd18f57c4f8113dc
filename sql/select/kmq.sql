-- Static kMQ: every cluster gives the same number of rows, drawn by quality within it. A row is a prompt with its best answer
-- (the highest score, ties to the earlier sample), so a prompt is chosen once.
--   $share = 0.5           rows to choose, as a share of those that may be chosen, rounded
--   $rows = null           rows to choose, instead of $share
--   $clusters = "prompt"   the entry of `cluster`, over prompts or the pool
--   $quality = "score"     quality of a row: its score, or difficulty, the share of its prompt's answers that are below $min_score
--   $draw = "softmax"      in a cluster: softmax or proportional to the quality, or uniform; without replacement
--   $temperature = 1.0     of the softmax
--   $redistribute = false  true: what small clusters cannot give is taken from larger ones; false: it is not taken
--   $min_score = 1.0       an answer below it is never chosen
-- Source: Zhang et al., "Diversify and Conquer", arXiv 2409.11378: quota min(rows / clusters rounded down, size of the cluster).
-- The paper draws proportionally to quality, its code (for-ai/iterative-data-selection) by softmax and leaves the rest unspent;
-- the code also cuts scores to whole numbers, which is not done here. $draw "uniform" is its k-means-random. Quality is a reward
-- model's score there; where every right answer scores 1, $quality "difficulty" prefers prompts that are seldom solved.
WITH best AS (
    SELECT
        prompt_id,
        generation_id,
        score,
        count(generation_id) FILTER (WHERE coalesce(score < $min_score, true)) OVER (PARTITION BY prompt_id)
        / count(generation_id) OVER (PARTITION BY prompt_id) AS difficulty
    FROM scored
    QUALIFY score >= $min_score AND row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC NULLS LAST, sample, generation_id) = 1
),

pool AS (
    SELECT
        best.prompt_id,
        best.generation_id,
        CASE $quality
            WHEN 'score' THEN best.score
            WHEN 'difficulty' THEN best.difficulty
            ELSE error(format('quality: expected score or difficulty, found {}', $quality))::DOUBLE
        END AS quality,
        coalesce(c.cluster_id, error(format('prompt {} has no cluster in the part {:s}', best.prompt_id, $clusters))::BIGINT) AS cluster_id
    FROM best
    LEFT JOIN clusters AS c ON c.item_id = best.prompt_id AND c.part = $clusters
),

budget AS (
    SELECT
        coalesce($rows::BIGINT, round($share::DOUBLE * (SELECT count(prompt_id) FROM pool))::BIGINT) AS total,
        (SELECT count(DISTINCT cluster_id) FROM clusters WHERE part = $clusters) AS k
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
),

weighed AS (
    SELECT
        prompt_id,
        generation_id,
        quality,
        cluster_id,
        CASE $draw
            WHEN 'uniform' THEN 1.0::DOUBLE
            WHEN 'proportional' THEN quality
            WHEN 'softmax' THEN exp((quality - max(quality) OVER (PARTITION BY cluster_id)) / $temperature::DOUBLE)
            ELSE error(format('draw: expected softmax, proportional or uniform, found {}', $draw))::DOUBLE
        END AS chance
    FROM pool
)

SELECT
    w.prompt_id,
    w.generation_id,
    w.cluster_id,
    row_number() OVER drawn AS rank,
    format('drawn in cluster {}, quota {}, quality {:g}', w.cluster_id, q.quota, w.quality) AS reason
FROM weighed AS w
INNER JOIN quotas AS q ON q.cluster_id = w.cluster_id
WINDOW drawn AS (
    PARTITION BY w.cluster_id
    ORDER BY sampling_key($seed, w.prompt_id, w.chance), draw($seed, w.prompt_id), w.prompt_id
)
QUALIFY rank <= q.quota
