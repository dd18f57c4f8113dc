-- How each prompt went in each round: answers, right ones (score >= 1), their share, the best score. part: rollout; or eval for
-- held-out prompts, or train for what an online objective sampled (only in the schema `lake`; a round's own SQL never sees those).
SELECT
    g.experiment,
    g.round,
    g.part,
    g.prompt_id,
    count(g.generation_id) AS answers,
    count(g.generation_id) FILTER (WHERE s.value >= 1) AS right_answers,
    count(g.generation_id) FILTER (WHERE s.value >= 1) / count(g.generation_id) AS pass_rate,
    max(s.value) AS best_score
FROM generations AS g
LEFT JOIN scores AS s
    ON s.experiment = g.experiment AND s.round = g.round AND s.part = g.part || '/score' AND s.item_id = g.generation_id
GROUP BY g.experiment, g.round, g.part, g.prompt_id
