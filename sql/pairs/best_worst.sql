-- The best answer of each prompt against its worst, where their scores differ.
--   $scorer = "score"  the score that ranks the answers
--   $min_margin = 0.0  the scores must differ by more than this
-- Source: Dong et al., "RLHF Workflow", arXiv 2405.07863 (max_min). Ties within the best or the worst go to the earlier sample;
-- answers without a score take no part, and a prompt whose answers are all equally good makes no pair.
WITH ranked AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) AS best,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value, sample, generation_id) AS worst
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.value - l.value AS margin,
    format('{:s} {:g} against {:g}', $scorer, w.value, l.value) AS reason
FROM ranked AS w
INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
WHERE w.best = 1 AND l.worst = 1 AND w.value - l.value > $min_margin
