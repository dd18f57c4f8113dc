-- The chance that an answer is the one that best-of-n takes from its prompt's answers: that it has the highest score of n drawn
-- without repetition. A prompt's values sum to 1, so weighted sums over them estimate best-of-n without bias.
--   $n                 answers that are drawn; a prompt with fewer scored ones is an error
--   $scorer = "score"  the score; an answer without one is never drawn and has 0
-- Of equal scores the earlier sample is taken to be the better one. Source: as of the macro best_of_n_weight.
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
        prompt_id,
        score,
        count(score) OVER (PARTITION BY prompt_id) AS n,
        row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC NULLS LAST, sample, generation_id) AS place
    FROM given
)

SELECT
    generation_id AS item_id,
    CASE
        WHEN n < $n::BIGINT
            THEN error(format('best of {}: prompt {} has {} scored answers', $n::BIGINT, prompt_id, n))::DOUBLE
        WHEN score IS NULL THEN 0.0::DOUBLE
        ELSE best_of_n_weight(n - place + 1, n, $n::BIGINT)
    END AS value
FROM placed
