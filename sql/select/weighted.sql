-- Reward-weighted regression: every answer trains by exp(score / tau). With baseline 'mean' by exp((score - mean of its prompt) / tau),
-- which is advantage-weighted regression.
--   $tau = 1.0             temperature; the smaller, the more the best answers count
--   $baseline = "none"     none or mean
--   $min_weight = 0.0      an answer below it, as a share of the largest weight of the round, is left out
-- Weights are divided by the round's largest, so that none overflows; the loss divides by the sum of weights, so this changes nothing.
-- Example: scores 1, 0.5, 0 with tau 0.5 weigh 1, 0.367879, 0.135335.
-- Source: Peters and Schaal, "Reinforcement learning by reward-weighted regression", ICML 2007; Peng et al., arXiv 1910.00177.
WITH raised AS (
    SELECT
        prompt_id,
        generation_id,
        sample,
        score,
        CASE
            WHEN $baseline = 'none' THEN score
            WHEN $baseline = 'mean' THEN score - fsum(score) OVER (PARTITION BY prompt_id) / count(1) OVER (PARTITION BY prompt_id)
            -- a failing cast carries the message
            ELSE format('baseline is none or mean, found {}', $baseline)::DOUBLE
        END AS advantage
    FROM scored
    WHERE score IS NOT NULL
),

weighted AS (
    SELECT
        *,
        exp((advantage - max(advantage) OVER ()) / $tau) AS weight
    FROM raised
)

SELECT
    prompt_id,
    generation_id,
    weight,
    row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id) AS rank,
    format('score {:g}', score) AS reason
FROM weighted
WHERE weight > 0 AND weight >= $min_weight
