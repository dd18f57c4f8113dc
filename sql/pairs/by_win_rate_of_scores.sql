-- As by_win_rate.sql, with probabilities from scores (Bradley-Terry) in the place of judged comparisons: the best answer of each prompt
-- against its worst, with their win rates over all answers of the prompt.
--   $scorer = "score"     the scores, in nats (a reward model's)
--   $include_self = true  count an answer against itself, as 0.5: then the win rates of K answers sum to K / 2
--   $min_margin = 0.0     the win rates must differ by more than this
-- probability: that the chosen answer beats the rejected one; extra: win_chosen and win_rejected; margin: their difference. Ties go to
-- the earlier sample; answers without a score take no part and count for nobody.
-- Source: Wu et al., "Self-Play Preference Optimization" (SPPO), arXiv 2405.00675, whose ranker gives one score for each answer.
WITH known AS (
    SELECT prompt_id, generation_id, value, sample
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
),

rates AS (
    SELECT
        a.prompt_id,
        a.generation_id,
        a.value,
        a.sample,
        fsum(bradley_terry(a.value, b.value) ORDER BY b.sample, b.generation_id) / count(b.generation_id) AS win
    FROM known AS a
    INNER JOIN known AS b ON b.prompt_id = a.prompt_id
    WHERE $include_self::BOOLEAN OR a.generation_id <> b.generation_id
    GROUP BY a.prompt_id, a.generation_id, a.value, a.sample
),

ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) AS best,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value, sample, generation_id) AS worst
    FROM rates
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.win - l.win AS margin,
    bradley_terry(w.value, l.value) AS probability,
    MAP {'win_chosen': w.win, 'win_rejected': l.win} AS extra,
    format('win rate {:.3f} against {:.3f}', w.win, l.win) AS reason
FROM ranked AS w
INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
WHERE w.best = 1 AND l.worst = 1 AND w.win - l.win > $min_margin
