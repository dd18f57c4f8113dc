-- The answers of each prompt with the highest number of any scorer or measure, ties to the earlier sample.
--   $scorer = "score"   the score, measure or picker that ranks the answers
--   $top = 1            answers kept for each prompt
--   $min_value = null   an answer below it is never kept; null: all may be
-- Answers without a number take no part; a scorer that gave none to any answer is an error. With `score` it is raft.sql.
-- Source: best-of-n by any number; with the log-probability under the base it is the SFT-sharpening of Huang et al., arXiv 2412.01951.
WITH known AS (SELECT count(value) AS n FROM rated WHERE scorer = $scorer),

ranked AS (
    SELECT
        g.prompt_id,
        g.generation_id,
        g.sample,
        CASE
            WHEN known.n = 0 THEN error(format('no answer has a number of the scorer {:s}', $scorer))::DOUBLE
            ELSE r.value
        END AS value
    FROM generations AS g
    CROSS JOIN known
    LEFT JOIN rated AS r ON r.generation_id = g.generation_id AND r.scorer = $scorer
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) AS rank,
    format('{:s} {:g}', $scorer, value) AS reason
FROM ranked
WHERE value IS NOT NULL AND ($min_value::DOUBLE IS NULL OR value >= $min_value)
QUALIFY rank <= $top
