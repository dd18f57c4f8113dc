-- Three answers of each prompt: the best as the one to imitate (third), the second best as chosen, the worst as rejected.
--   $scorer = "score"  the score that ranks the answers
--   $min_margin = 0.0  chosen and rejected must differ by more than this
-- Source: the triples of Triple Preference Optimization (Saeidi et al., arXiv 2405.16681), made from the four ratings of UltraFeedback:
-- gold = best, chosen = second, rejected = worst. Ties go to the earlier sample, so the best and the second may be equally good. A
-- prompt with fewer than three scored answers, or with a second that is as bad as the worst, makes no triple.
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
    t.generation_id AS third_id,
    w.value - l.value AS margin,
    format('{:s} {:g}, {:g} against {:g}', $scorer, t.value, w.value, l.value) AS reason
FROM ranked AS w
INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
INNER JOIN ranked AS t ON t.prompt_id = w.prompt_id
WHERE t.best = 1 AND w.best = 2 AND l.worst = 1 AND w.value - l.value > $min_margin
