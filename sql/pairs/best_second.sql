-- The best answer of each prompt against the second best.
--   $scorer = "score"  the score that ranks the answers
--   $min_margin = 0.0  the scores must differ by more than this
-- Source: the pair choice `max_max` of RLHFlow's Online-RLHF (Dong et al., arXiv 2405.07863). The order within a tie is that of the
-- samples, and a prompt whose two best answers have the same score makes no pair; answers without a score take no part.
WITH ranked AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) AS place
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.value - l.value AS margin,
    format('{:s} {:g} against the second best, {:g}', $scorer, w.value, l.value) AS reason
FROM ranked AS w
INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
WHERE w.place = 1 AND l.place = 2 AND w.value - l.value > $min_margin
