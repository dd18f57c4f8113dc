-- Of each prompt's right answers the one that fits the model best: the highest mean log-probability of a token.
--   $top = 1          answers kept for each prompt
--   $min_score = 1.0  an answer below it is not right
-- Needs the measure `logprob` with the name `fit`. Answers of equal text count once, as the one of the smallest id; an answer
-- that was too long for the measure is no candidate. `rondo ask actor_share` shows whose answers were chosen.
-- Source: Zhang et al., "The Best Instruction-Tuning Data are Those That Fit" (GRAPE), arXiv 2502.04194.
WITH candidates AS (
    SELECT prompt_id, generation_id, actor, fit_mean
    FROM scored
    WHERE score >= $min_score AND fit_mean IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY prompt_id, content_id ORDER BY generation_id) = 1
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER (PARTITION BY prompt_id ORDER BY fit_mean DESC, generation_id) AS rank,
    format('fit {:.4f}, of {} candidates, by {}', fit_mean, count(1) OVER (PARTITION BY prompt_id), actor) AS reason
FROM candidates
QUALIFY rank <= $top
