-- What an online objective (grpo, rloo) trained on: the answers that it sampled itself, with score, question and answer as in
-- selected_rows. step: optimizer steps done when the answer was sampled; reward: what the score was made into; advantage: what it
-- counted in the step. written_by is the model that the training started from; the weights had moved by `step` steps.
SELECT
    g.experiment,
    g.round,
    CASE g.part WHEN 'train' THEN 'policy' ELSE substr(g.part, length('train/') + 1) END AS role,
    g.generation_id AS row_id,
    g.prompt_id,
    g.generation_id,
    'generation' AS origin,
    g.round AS source_round,
    1.0::DOUBLE AS weight,
    'advantage ' || round((g.meta ->> '$.advantage')::DOUBLE, 3) || ' after step ' || (g.meta ->> '$.step') AS reason,
    s.value AS score,
    s.verdict,
    g.actor,
    g.model AS written_by,
    g.sample,
    (g.meta ->> '$.step')::BIGINT AS step,
    (g.meta ->> '$.reward')::DOUBLE AS reward,
    (g.meta ->> '$.advantage')::DOUBLE AS advantage,
    g.response_tokens,
    list_filter(p.messages, lambda m: m.role = 'user')[-1].content AS question,
    g.response AS answer
FROM generations AS g
LEFT JOIN prompts AS p ON p.experiment = g.experiment AND p.round = g.round AND p.part = 'train' AND p.prompt_id = g.prompt_id
LEFT JOIN scores AS s
    ON s.experiment = g.experiment AND s.round = g.round AND s.part = g.part || '/score' AND s.item_id = g.generation_id
WHERE g.part = 'train' OR starts_with(g.part, 'train/')
