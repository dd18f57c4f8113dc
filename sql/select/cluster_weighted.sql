-- Diversify-and-Conquer, iterative: clusters give rows by the weights that the plan found for this round; within a cluster rows
-- are drawn uniformly among prompts that no earlier round chose. A row is a prompt with its gold answer, or with its best one.
--   $share = 0.1           rows that all rounds choose together, as a share of the round's prompts, rounded; $rounds share it
--   $rows = null           rows of this round, instead of $share
--   $clusters = "prompt"   the entry of `cluster`, over prompts or the pool
--   $plan = "cluster_weights"  the entry of `plan` whose rows with key 'weight' give the clusters' weights
--   $counts = "multinomial"    how many rows a cluster gives: multinomial draws, or largest_remainder. Before anything is
--                              chosen the weights are equal and largest remainders are taken
--   $redistribute = false  true: what a cluster cannot give is offered to the others; false: it is not taken
--   $gold = null           column of the files (in prompts.meta) with the gold answer: these train, as in the paper; null:
--                          the policy's best answer (highest score, ties to the earlier sample)
--   $min_score = 1.0       an answer of the policy below it is never chosen
-- Source: Zhang et al., "Diversify and Conquer", arXiv 2409.11378. Its code draws rows / (clusters x rounds) in all, which is a
-- cluster's share taken for the total; the paper means rows / rounds, as here ($rows gives any other number).
WITH best AS (
    SELECT
        prompt_id,
        generation_id
    FROM scored
    WHERE score >= $min_score AND $gold::VARCHAR IS NULL
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id) = 1
),

chosen AS (
    SELECT DISTINCT prompt_id
    FROM history.selected
    WHERE round >= 0
),

pool AS (
    SELECT
        p.prompt_id,
        best.generation_id,
        p.meta ->> $gold::VARCHAR AS gold,
        coalesce(c.cluster_id, error(format('prompt {} has no cluster in the part {:s}', p.prompt_id, $clusters))::BIGINT) AS cluster_id
    FROM prompts AS p
    LEFT JOIN best ON best.prompt_id = p.prompt_id
    LEFT JOIN clusters AS c ON c.item_id = p.prompt_id AND c.part = $clusters
    WHERE
        p.split = 'train'
        AND (best.generation_id IS NOT NULL OR p.meta ->> $gold::VARCHAR IS NOT NULL)
        AND p.prompt_id NOT IN (SELECT chosen.prompt_id FROM chosen)
),

groups AS (
    SELECT
        list(w.item_id::BIGINT ORDER BY w.item_id::BIGINT) AS ids,
        list(w.value::DOUBLE ORDER BY w.item_id::BIGINT) AS weights,
        list(coalesce(n.n, 0) ORDER BY w.item_id::BIGINT) AS sizes
    FROM plan AS w
    LEFT JOIN (SELECT cluster_id, count(prompt_id) AS n FROM pool GROUP BY cluster_id) AS n ON n.cluster_id = w.item_id::BIGINT
    WHERE w.part = $plan AND w.key = 'weight'
),

budget AS (
    SELECT
        coalesce($rows::BIGINT, round($share::DOUBLE * (SELECT count(prompt_id) FROM prompts WHERE split = 'train') / $rounds)::BIGINT) AS total,
        (SELECT count(prompt_id) FROM chosen) AS chosen
),

quotas AS (
    SELECT
        unnest(groups.ids) AS cluster_id,
        unnest(
            CASE
                WHEN $redistribute::BOOLEAN THEN allocate(groups.weights, groups.sizes, budget.total)
                WHEN budget.chosen = 0 OR $counts = 'largest_remainder' THEN largest_remainder(groups.weights, budget.total)
                WHEN $counts = 'multinomial' THEN multinomial(groups.weights, budget.total, $seed, 'clusters')
                ELSE error(format('counts: expected multinomial or largest_remainder, found {}', $counts))
            END
        ) AS quota
    FROM groups, budget
)

SELECT
    pool.prompt_id,
    pool.generation_id,
    CASE WHEN pool.gold IS NOT NULL THEN
        list_append(
            list_transform(p.messages, lambda m: {'role': m.role, 'content': m.content, 'origin': 'prompt', 'weight': 0.0::DOUBLE}),
            {'role': 'assistant', 'content': pool.gold, 'origin': 'gold', 'weight': 1.0::DOUBLE}
        )
    END AS messages,
    pool.cluster_id,
    row_number() OVER drawn AS rank,
    if(pool.gold IS NOT NULL, 'gold', 'generation') AS origin,
    format('drawn in cluster {}, quota {}', pool.cluster_id, q.quota) AS reason
FROM pool
INNER JOIN quotas AS q ON q.cluster_id = pool.cluster_id
INNER JOIN prompts AS p ON p.prompt_id = pool.prompt_id AND p.split = 'train'
WINDOW drawn AS (PARTITION BY pool.cluster_id ORDER BY draw($seed, pool.prompt_id), pool.prompt_id)
QUALIFY rank <= q.quota
