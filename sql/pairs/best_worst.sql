-- The best answer of each prompt against its worst, where their scores differ.
--   $min_margin = 0.0  the scores must differ by more than this
-- Source: Dong et al., "RLHF Workflow", arXiv 2405.07863 (max_min). Ties within the best or the worst go to the earlier sample;
-- answers without a score take no part, and a prompt whose answers are all equally good makes no pair.
WITH ranked AS (
    SELECT
        prompt_id,
        generation_id,
        score,
        row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id) AS best,
        row_number() OVER (PARTITION BY prompt_id ORDER BY score, sample, generation_id) AS worst
    FROM scored
    WHERE score IS NOT NULL
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.score - l.score AS margin,
    format('score {:g} against {:g}', w.score, l.score) AS reason
FROM ranked AS w
INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
WHERE w.best = 1 AND l.worst = 1 AND w.score - l.score > $min_margin
