-- Right answers with their cluster and their numbers under several scorers: for the picker `scorer_by_entropy`.
--   $scorers              names of scorers (columns of `scored`), a list; the order breaks ties
--   $space = "answers"    entry of `cluster` with `of: generations` and a number of clusters
--   $min_score = 1.0      an answer below it is no candidate
-- Answers of equal text count once; one that lacks a number (it was too long for a measure, say) is no candidate.
-- Source: Maharana et al., "Adapt-infinity", arXiv 2410.10636.
WITH numbers AS (
    SELECT
        item_id,
        list(scorer ORDER BY list_position($scorers::VARCHAR[], scorer)) AS scorers,
        list(value ORDER BY list_position($scorers::VARCHAR[], scorer)) AS scores
    FROM scores
    WHERE list_contains($scorers::VARCHAR[], scorer) AND value IS NOT NULL
    GROUP BY item_id
)

SELECT
    scored.generation_id AS item_id,
    scored.prompt_id,
    clusters.cluster_id AS cluster,
    numbers.scorers,
    numbers.scores
FROM scored
INNER JOIN clusters ON scored.generation_id = clusters.item_id AND clusters.part = $space
INNER JOIN numbers ON scored.generation_id = numbers.item_id
WHERE scored.score >= $min_score AND len(numbers.scores) = len($scorers::VARCHAR[])
QUALIFY row_number() OVER (PARTITION BY scored.prompt_id, scored.content_id ORDER BY scored.generation_id) = 1
