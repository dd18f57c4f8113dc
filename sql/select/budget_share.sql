-- The best answer of each prompt in the share of demonstrations; pairs/budget_share.sql takes the other prompts.
--   $plan = "budget"   entry of `plan` with the file plan/budget_share.sql, which says how large the share is
--   $min_score = 1.0   a prompt takes part where its best answer has at least this score, and its worst a lower one than the best
--   $lot = 0           another number shares the prompts otherwise; the same in both files
-- Prompts with an answer to prefer are put in a fixed order by lot; the first rho of them give demonstrations, the others pairs, so that
-- no prompt stands in both and the two together are the budget. Ties go to the earlier sample.
-- Source: "Balancing the Budget: Understanding Trade-offs Between Supervised and Preference-Based Finetuning", arXiv 2502.11284.
WITH usable AS (
    SELECT
        prompt_id,
        arg_min(generation_id, {'score': -score, 'sample': sample, 'id': generation_id}) AS chosen_id,
        arg_min(generation_id, {'score': score, 'sample': sample, 'id': generation_id}) AS rejected_id,
        max(score) AS high,
        min(score) AS low,
        row_number() OVER (ORDER BY draw($lot, prompt_id), prompt_id) AS place
    FROM scored
    WHERE score IS NOT NULL
    GROUP BY prompt_id
    HAVING max(score) > min(score) AND max(score) >= $min_score
),

given AS (
    SELECT
        max(value::DOUBLE) FILTER (WHERE key = 'rho') AS rho,
        max(value::DOUBLE) FILTER (WHERE key = 'budget') AS budget
    FROM plan
    WHERE part = $plan
),

shared AS (
    SELECT
        least(coalesce(given.budget::BIGINT, count(usable.prompt_id)), count(usable.prompt_id)) AS examples,
        coalesce(given.rho, error(format('no entry of plan called {:s} gives rho', $plan))::DOUBLE) AS rho
    FROM given
    LEFT JOIN usable ON true
    GROUP BY given.rho, given.budget
)

SELECT
    usable.prompt_id,
    usable.chosen_id AS generation_id,
    format('score {:g}, example {} of {}', usable.high, usable.place, shared.examples) AS reason
FROM usable
CROSS JOIN shared
WHERE usable.place <= shared.examples AND usable.place <= round(shared.rho * shared.examples)
