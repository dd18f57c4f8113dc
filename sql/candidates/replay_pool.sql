-- What trained in the previous round, the pool, and what this round has picked so far: for the picker `redundancy`.
--   $picker = "picked"   the picker of this round's rows
--   $space = "answers"   entry of `cluster` with `of: generations`; `fit: first` keeps the clusters of all rounds the same
-- Rows of the pool stand in the order in which they were first selected. Gold rows of the base have no vector and are not in it.
-- Source: the compressed pool of Adapt-infinity, arXiv 2410.10636.
WITH pool AS (
    SELECT generation_id, prompt_id, source_round, cluster_id, rank
    FROM history.selected
    WHERE round = $round - 1 AND generation_id IS NOT NULL AND source_round >= 0
    QUALIFY row_number() OVER (PARTITION BY generation_id ORDER BY row_id) = 1
)

SELECT
    pool.generation_id AS item_id,
    pool.prompt_id,
    pool.cluster_id AS cluster,
    e.vector,
    row_number() OVER (ORDER BY pool.source_round, pool.rank, pool.generation_id) AS place,
    false AS fresh
FROM pool
INNER JOIN history.embeddings AS e ON e.item_id = pool.generation_id AND e.round = pool.source_round AND e.part = $space
UNION ALL
SELECT
    g.generation_id,
    g.prompt_id,
    clusters.cluster_id,
    embeddings.vector,
    s.value::BIGINT,
    true
FROM generations AS g
INNER JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $picker
INNER JOIN clusters ON clusters.item_id = g.generation_id AND clusters.part = $space
INNER JOIN embeddings ON embeddings.item_id = g.generation_id AND embeddings.part = $space
WHERE s.value IS NOT NULL
