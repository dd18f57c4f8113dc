-- Pairs of answers by different actors: the best of one against the worst of another.
--   $chosen_actor = null    who must have written the chosen answer; null: anybody
--   $rejected_actor = null  who must have written the rejected one; null: anybody else
--   $scorer = "score"       the score that ranks the answers
--   $by_score = true        true: the chosen answer must score higher; false: actors alone decide (a strong model against a weak one),
--                           scores only say which answers; then $chosen_actor and $rejected_actor must be given
--   $min_margin = 0.0       with $by_score: the scores must differ by more than this
-- One pair a prompt: that with the largest margin, then the earliest samples. Answers without a score take no part; a prompt with
-- answers of one actor only makes no pair.
-- Source: pairs from two policies, as the exploration of RLHF Workflow (Dong et al., arXiv 2405.07863) takes them.
WITH known AS (
    SELECT prompt_id, generation_id, value, actor, sample
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.value - l.value AS margin,
    format('{:s} of {:s} {:g} against {:s} {:g}', $scorer, w.actor, w.value, l.actor, l.value) AS reason
FROM known AS w
INNER JOIN known AS l ON l.prompt_id = w.prompt_id AND l.actor <> w.actor
WHERE ($chosen_actor::VARCHAR IS NULL OR w.actor = $chosen_actor)
    AND ($rejected_actor::VARCHAR IS NULL OR l.actor = $rejected_actor)
    AND CASE
        WHEN $by_score::BOOLEAN THEN w.value - l.value > $min_margin
        WHEN $chosen_actor::VARCHAR IS NULL OR $rejected_actor::VARCHAR IS NULL
            THEN error('by_score false: give chosen_actor and rejected_actor, which then decide')::BOOLEAN
        ELSE true
    END
QUALIFY row_number() OVER (
    PARTITION BY w.prompt_id
    ORDER BY w.value - l.value DESC, w.sample, l.sample, w.generation_id, l.generation_id
) = 1
