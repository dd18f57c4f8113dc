-- Best against worst of each prompt, without the pairs that would lower the probability of their own chosen answer: those with the
-- lowest CHES number stay.
--   $judge = "ches"    the comparer `ches` (a name of `compare`), with the model that the pairs will train
--   $scorer = "score"  the score that ranks the answers
--   $min_margin = 0.0  the scores must differ by more than this
--   $fraction = 0.5    share of the round's pairs that is kept (at least one); the paper's safety experiment keeps 0.05
-- The number is that of the chosen answer shown first; extra: ches. Ties go to the earlier sample; answers without a score take no part,
-- and a pair without a number (an answer that is too long) is left out before the share is taken.
-- Source: Razin et al., "Unintentional Unalignment: Likelihood Displacement in Direct Preference Optimization", arXiv 2410.08847.
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

numbers AS (
    SELECT
        if("order" = 'swapped', right_id, left_id) AS first_id,
        if("order" = 'swapped', left_id, right_id) AS second_id,
        value
    FROM preferences
    WHERE judge = $judge AND "order" IN ('forward', 'swapped') AND value IS NOT NULL
),

numbered AS (
    SELECT
        w.prompt_id,
        w.generation_id AS chosen_id,
        l.generation_id AS rejected_id,
        w.value - l.value AS margin,
        n.value AS ches
    FROM ranked AS w
    INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
    INNER JOIN numbers AS n ON n.first_id = w.generation_id AND n.second_id = l.generation_id
    WHERE w.best = 1 AND l.worst = 1 AND w.value - l.value > $min_margin
)

SELECT
    prompt_id,
    chosen_id,
    rejected_id,
    margin,
    MAP {'ches': ches} AS extra,
    format('CHES {:g}', ches) AS reason
FROM numbered
QUALIFY row_number() OVER (ORDER BY ches, chosen_id, rejected_id) <= greatest(1, floor($fraction::DOUBLE * count(chosen_id) OVER ()))
