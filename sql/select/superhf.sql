-- The best answers of each prompt that are not empty, by the score less a share of the logarithm of their length.
--   $top = 1              answers kept for each prompt
--   $min_score = 1.0      an answer whose own score is below it is never kept
--   $length_weight = 0.0  c in score - c ln(characters): above 0, shorter answers are preferred
-- Source: Mukobi et al., "SuperHF", arXiv 2310.16763, and its code openfeedback/superhf (filtering keeps the best of a superbatch after
-- completions without text are dropped; its help speaks of c times the length, its code takes the logarithm). Ties go to the earlier
-- sample.
WITH shaped AS (
    SELECT
        s.prompt_id,
        s.generation_id,
        s.sample,
        s.score,
        log_length_penalised(s.score, length(g.response), $length_weight) AS value
    FROM scored AS s
    INNER JOIN generations AS g ON g.generation_id = s.generation_id
    WHERE s.score >= $min_score AND length(trim(g.response)) > 0
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER best AS rank,
    format('score {:g}, shaped {:g}', score, value) AS reason
FROM shaped
WINDOW best AS (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id)
QUALIFY rank <= $top
