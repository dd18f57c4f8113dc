-- The best answer of each prompt against its worst, with a soft label from the margin: probability = 1 / (1 + exp(-margin /
-- $temperature)).
--   $scorer = "score"   the score that ranks the answers
--   $temperature = 1.0  above 1 the labels are softer; 1 takes the scores as a Bradley-Terry model's nats
--   $min_margin = 0.0   the scores must differ by more than this
-- Ties go to the earlier sample; answers without a score take no part. Where a judge compared the answers, see judged.sql.
-- Source: Bradley and Terry, Biometrika 1952; the loss that uses the label is that of conservative DPO (Mitchell, "A note on DPO with
-- noisy preferences", 2023) with a label of its own for each pair.
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
    bradley_terry(w.value / $temperature, l.value / $temperature) AS probability,
    format('{:s} {:g} against {:g}', $scorer, w.value, l.value) AS reason
FROM ranked AS w
INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
WHERE w.best = 1 AND l.worst = 1 AND w.value - l.value > $min_margin
