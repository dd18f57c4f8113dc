-- Adapt-infinity: what the picker of this round chose, and what is left of the earlier rounds' rows after pruning.
--   $picker = "picked"  the picker of this round's rows
--   $pool = "pool"      the picker that pruned the earlier ones; rows that it gave no number are left out
-- Source: Maharana et al., "Adapt-infinity", arXiv 2410.10636.
WITH pool AS (
    SELECT row_id, prompt_id, generation_id, messages, cluster_id, source_round
    FROM history.selected
    WHERE round = $round - 1 AND generation_id IS NOT NULL AND source_round >= 0
    QUALIFY row_number() OVER (PARTITION BY generation_id ORDER BY row_id) = 1
)

SELECT
    g.prompt_id,
    g.generation_id,
    NULL AS messages,
    NULL AS row_id,
    (s.detail ->> '$.cluster')::BIGINT AS cluster_id,
    s.value::BIGINT AS rank,
    'generation' AS origin,
    $round::BIGINT AS source_round,
    format(
        'pick {}, cluster {:s} gives {:s} of {:s}',
        s.value::BIGINT,
        s.detail ->> '$.cluster',
        s.detail ->> '$.quota',
        s.detail ->> '$.size'
    ) AS reason
FROM generations AS g
INNER JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $picker
WHERE s.value IS NOT NULL
UNION ALL
SELECT
    pool.prompt_id,
    pool.generation_id,
    pool.messages,
    pool.row_id,
    pool.cluster_id,
    s.value::BIGINT AS rank,
    'replay' AS origin,
    pool.source_round,
    format('replayed, cosine {:.4f} to an earlier row of cluster {}', (s.detail ->> '$.M')::DOUBLE, pool.cluster_id) AS reason
FROM pool
INNER JOIN scores AS s ON s.item_id = pool.generation_id AND s.scorer = $pool
WHERE s.value IS NOT NULL
