-- Candidates of an earlier picker or a measure with their cluster and number: for the picker `coverage`.
--   $score = "informative"  name of the scorer whose range is to be covered; what has no number is no candidate
--   $spread = null          name of the scorer whose standard deviation weighs clusters (allocate: spread); null: $score
--   $space = "answers"      entry of `cluster` with `of: generations` and a number of clusters
-- Source: Zheng et al., "Coverage-centric Coreset Selection", ICLR 2023; Adapt-infinity, arXiv 2410.10636.
SELECT
    g.generation_id AS item_id,
    g.prompt_id,
    clusters.cluster_id AS cluster,
    own.value AS score,
    weighing.value AS spread,
    embeddings.vector
FROM generations AS g
INNER JOIN scores AS own ON own.item_id = g.generation_id AND own.scorer = $score
LEFT JOIN scores AS weighing ON weighing.item_id = g.generation_id AND weighing.scorer = coalesce($spread::VARCHAR, $score)
INNER JOIN clusters ON clusters.item_id = g.generation_id AND clusters.part = $space
INNER JOIN embeddings ON embeddings.item_id = g.generation_id AND embeddings.part = $space
WHERE own.value IS NOT NULL
