-- Weights of clusters for select/cluster_weighted.sql: clusters on which this round's policy is still far from the gold answers
-- get more. A prompt's gap is the gold answer's reward less the mean score of its answers; a cluster's is the mean over prompts.
--   $clusters = "prompt"   the entry of `cluster`, over prompts or the pool
--   $rule = "softmax"      softmax of the gaps, which forgets the round before; or multiplicative: the round before's weight times
--                          the cluster's share of all gaps (negative gaps count as 0)
--   $temperature = 1.0     of the softmax
--   $gold = 1.0            reward of a gold answer: with scores of 0 and 1 a gap is 1 - pass rate
--   $gold_column = null      a column of the files (in prompts.meta) that has it; $gold where a prompt has none
--   $over = "selected"     prompts that count: those chosen in earlier rounds, or all that are "answered" in this one
--   $plan = "cluster_weights"  the name of this entry, to find the weights of the round before
-- A cluster without such a prompt gets the mean weight of the others; before anything is chosen all weights are equal.
-- Source: Zhang et al., "Diversify and Conquer", arXiv 2409.11378: the text has the multiplicative rule, the code the softmax.
WITH ids AS (
    SELECT DISTINCT cluster_id
    FROM clusters
    WHERE part = $clusters
),

chosen AS (
    SELECT DISTINCT prompt_id
    FROM history.selected
    WHERE round >= 0
),

answered AS (
    SELECT
        prompt_id,
        fsum(score) / count(score) AS mean_score
    FROM scored
    WHERE score IS NOT NULL
    GROUP BY prompt_id
),

gaps AS (
    SELECT
        c.cluster_id,
        fsum(coalesce((p.meta ->> $gold_column::VARCHAR)::DOUBLE, $gold::DOUBLE) - a.mean_score) / count(a.prompt_id) AS gap,
        count(a.prompt_id) AS n
    FROM answered AS a
    INNER JOIN clusters AS c ON c.item_id = a.prompt_id AND c.part = $clusters
    INNER JOIN prompts AS p ON p.prompt_id = a.prompt_id
    WHERE
        (SELECT count(chosen.prompt_id) FROM chosen) > 0
        AND CASE $over
            WHEN 'answered' THEN true
            WHEN 'selected' THEN a.prompt_id IN (SELECT chosen.prompt_id FROM chosen)
            ELSE error(format('over: expected selected or answered, found {}', $over))::BOOLEAN
        END
    GROUP BY c.cluster_id
),

before AS (
    SELECT
        item_id::BIGINT AS cluster_id,
        value::DOUBLE AS weight
    FROM history.plan
    WHERE part = $plan AND key = 'weight' AND round = $round - 1
),

seen AS (
    SELECT
        list(g.cluster_id ORDER BY g.cluster_id) AS cluster_ids,
        list(g.gap ORDER BY g.cluster_id) AS gaps,
        list(greatest(g.gap, 0) * coalesce(b.weight, 1.0 / (SELECT count(ids.cluster_id) FROM ids)) ORDER BY g.cluster_id) AS products
    FROM gaps AS g
    LEFT JOIN before AS b ON b.cluster_id = g.cluster_id
),

weights AS (
    SELECT
        unnest(cluster_ids) AS cluster_id,
        unnest(CASE $rule
            WHEN 'softmax' THEN softmax(gaps, $temperature)
            WHEN 'multiplicative' THEN shares(products)
            ELSE error(format('rule: expected softmax or multiplicative, found {}', $rule))
        END) AS weight
    FROM seen
),

whole AS (
    SELECT
        list(ids.cluster_id ORDER BY ids.cluster_id) AS cluster_ids,
        -- the mean of the seen clusters' weights, which sum to 1
        shares(list(coalesce(w.weight, 1.0 / greatest((SELECT count(gaps.cluster_id) FROM gaps), 1)) ORDER BY ids.cluster_id)) AS weights
    FROM ids
    LEFT JOIN weights AS w ON w.cluster_id = ids.cluster_id
),

listed AS (
    SELECT
        unnest(cluster_ids) AS cluster_id,
        unnest(weights) AS weight
    FROM whole
)

SELECT
    'weight' AS key,
    l.cluster_id AS item_id,
    CASE
        WHEN $over = 'selected' AND (SELECT count(chosen.prompt_id) FROM chosen) > 0 AND (SELECT count(gaps.cluster_id) FROM gaps) = 0
            THEN error('none of the prompts that were chosen is answered in this round: set prompts.per_round to null, or over: answered')::DOUBLE
        ELSE l.weight
    END AS value,
    coalesce(format('gap {:.4f} over {} prompts', g.gap, g.n), 'none of its prompts was chosen yet: mean weight') AS reason
FROM listed AS l
LEFT JOIN gaps AS g ON g.cluster_id = l.cluster_id
ORDER BY l.cluster_id
