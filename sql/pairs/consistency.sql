-- The best answer of each prompt against its worst, with the consistency of two rankings as the soft label: how far the policy and the
-- one before it rank the prompt's answers alike.
--   $scorer = "score"           the score that ranks the answers, such as the reward under this round's policy
--   $consistency                the measure with the consistency (measures/rank_consistency.sql), the same for all answers of a prompt;
--                               its $over says whether each prompt has its own or all have the mean
--   $min_margin = 0.0           the scores must differ by more than this
-- probability: the consistency C in [0, 1]; below 0.5 the loss prefers the rejected answer, as the formula says. Ties go to the earlier
-- sample, answers without a score take no part, and a prompt without a consistency makes no pair.
-- Source: Wang et al., "CREAM: Consistency Regularized Self-Rewarding Language Models", arXiv 2410.12735.
WITH ranked AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) AS best,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value, sample, generation_id) AS worst
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
),

agreed AS (
    SELECT generation_id, value
    FROM rated
    WHERE scorer = $consistency AND value IS NOT NULL
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.value - l.value AS margin,
    agreed.value AS probability,
    format('{:s} {:g} against {:g}, consistency {:.3f}', $scorer, w.value, l.value, agreed.value) AS reason
FROM ranked AS w
INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
INNER JOIN agreed ON agreed.generation_id = w.generation_id
WHERE w.best = 1 AND l.worst = 1 AND w.value - l.value > $min_margin
