-- Answers a prompt by its cluster: as a table says, or more for clusters on which the policy was bad in the last round. For
-- generate.plan.
--   $clusters = "prompt"  the entry of `cluster`, over prompts or the pool
--   $table = []           a list of {cluster, samples}: answers of each prompt of a cluster. Others get $samples, and nothing is shared
--   $samples = 8          answers a prompt on average, where there is no table: this times the round's prompts is the budget
--   $least = 1            answers of a prompt in a cluster that is never failed
--   $most = 64            and of one at most
--   $power = 1.0          a cluster's share goes with 1 - its mean score, to this power
--   $unseen = 0.5         that of a cluster which the last round did not ask
--   $key = "samples"      key of the rows; "cap" where generate.until is set
-- Mean scores are of the last round's rollouts (scores of 0 to 1, others are cut off), a prompt in the cluster that it had then:
-- clusters keep their numbers over rounds. Largest remainders make the sum exactly the budget, so that prompts of one cluster may
-- differ by one. Where a budget is too small for $least or too large for $most, it is an error.
-- Source: the gaps by cluster of "Diversify and Conquer" (Zhang et al., arXiv 2409.11378), over trials in place of selected rows.
WITH asked AS (
    SELECT
        p.prompt_id,
        coalesce(c.cluster_id, error(format('prompt {} has no cluster in the part {:s}', p.prompt_id, $clusters))::BIGINT) AS cluster_id
    FROM prompts AS p
    LEFT JOIN clusters AS c ON c.item_id = p.prompt_id AND c.part = $clusters
    WHERE p.split = 'train'
),

answered AS (
    SELECT
        c.cluster_id,
        1.0 - least(1.0, greatest(0.0, fsum(s.score ORDER BY s.prompt_id, s.sample, s.generation_id) / count(s.score))) AS gap
    FROM history.scored AS s
    INNER JOIN history.clusters AS c ON c.item_id = s.prompt_id AND c.round = s.round AND c.part = $clusters
    WHERE s.round = $round - 1 AND s.round >= 0 AND s.score IS NOT NULL
    GROUP BY c.cluster_id
),

given AS (
    SELECT unnest(from_json(to_json($table), '[{"cluster": "BIGINT", "samples": "BIGINT"}]'), recursive := true)
),

gaps AS (
    SELECT
        asked.prompt_id,
        asked.cluster_id,
        answered.gap,
        given.samples
    FROM asked
    LEFT JOIN answered ON answered.cluster_id = asked.cluster_id
    LEFT JOIN given ON given.cluster = asked.cluster_id
),

weighed AS (
    SELECT
        list(prompt_id ORDER BY prompt_id) AS prompt_ids,
        list(cluster_id ORDER BY prompt_id) AS cluster_ids,
        list(gap ORDER BY prompt_id) AS gaps,
        list(coalesce(samples, $samples::BIGINT) ORDER BY prompt_id) AS samples,
        -- never 0: where all others are full, what is left goes to the easy ones
        list(greatest(0.001, round(pow(coalesce(gap, $unseen::DOUBLE), $power::DOUBLE), 3)) ORDER BY prompt_id) AS weights,
        count(prompt_id) AS n,
        round($samples::DOUBLE * count(prompt_id))::BIGINT AS total,
        (SELECT count(given.cluster) FROM given) > 0 AS has_table
    FROM gaps
),

shared AS (
    SELECT
        unnest(prompt_ids) AS prompt_id,
        unnest(cluster_ids) AS cluster_id,
        unnest(gaps) AS gap,
        has_table,
        unnest(CASE
            WHEN has_table THEN samples
            WHEN total BETWEEN n * $least::BIGINT AND n * $most::BIGINT
                THEN list_transform(
                    allocate(weights, list_transform(weights, lambda w: $most::BIGINT - $least::BIGINT), total - n * $least::BIGINT),
                    lambda extra: $least::BIGINT + extra
                )
            ELSE error(format('{} answers to {} prompts: expected {} to {} a prompt', total, n, $least::BIGINT, $most::BIGINT))
        END) AS samples
    FROM weighed
)

SELECT
    CASE
        WHEN $key IN ('samples', 'cap') THEN $key
        ELSE error(format('key: expected samples or cap, found {:s}', $key))
    END AS key,
    prompt_id AS item_id,
    samples::BIGINT AS value,
    CASE
        WHEN has_table THEN format('cluster {}', cluster_id)
        ELSE coalesce(format('cluster {}: mean score {:.3f}', cluster_id, 1.0 - gap), format('cluster {}: not asked before', cluster_id))
    END AS reason
FROM shared
ORDER BY item_id
