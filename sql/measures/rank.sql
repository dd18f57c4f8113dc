-- The place of an answer among those of its prompt by a score, the highest first. Null where it has no score.
--   $scorer = "score"  the score
--   $give = "rank"     rank: 1 for the best; borda: how many siblings it leaves behind; share: borda / (K - 1), null where K = 1
--   $ties = "first"    first: of equal scores the earlier sample stands before; mean: they share the mean of their places
WITH given AS (
    SELECT
        g.generation_id,
        g.prompt_id,
        g.sample,
        scored_value(s.item_id, s.value, g.generation_id, $scorer) AS score
    FROM generations AS g
    LEFT JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $scorer AND s.segment IS NULL
),

placed AS (
    SELECT
        generation_id,
        score,
        count(score) OVER (PARTITION BY prompt_id) AS n,
        CASE $ties
            WHEN 'first'
                THEN row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC NULLS LAST, sample, generation_id)::DOUBLE
            WHEN 'mean'
                THEN rank() OVER (PARTITION BY prompt_id ORDER BY score DESC NULLS LAST)
                + (count(generation_id) OVER (PARTITION BY prompt_id, score) - 1) / 2.0::DOUBLE
            ELSE error(format('ties: expected first or mean, found {}', $ties))::DOUBLE
        END AS place
    FROM given
)

SELECT
    generation_id AS item_id,
    CASE
        WHEN score IS NULL THEN NULL
        WHEN $give = 'rank' THEN place
        WHEN $give = 'borda' THEN n - place
        WHEN $give = 'share' THEN (n - place) / nullif(n - 1, 0)
        ELSE error(format('give: expected rank, borda or share, found {}', $give))::DOUBLE
    END AS value
FROM placed
