-- What was selected and why: each demonstration with its score, who wrote it (actor; written_by is the model), question and answer.
-- Score and model come from the round that the row is from (source_round), so they are null where the schema does not show that
-- round. A row that is made of no answer in the lake, such as a prompt's gold answer, has its origin as the actor.
SELECT
    r.experiment,
    r.round,
    r.part AS role,
    r.row_id,
    r.prompt_id,
    r.generation_id,
    r.origin,
    r.source_round,
    r.weight,
    r.rank,
    r.reason,
    s.value AS score,
    s.verdict,
    CASE WHEN r.generation_id IS NULL THEN r.origin ELSE g.actor END AS actor,
    g.model AS written_by,
    g.sample,
    g.response_tokens,
    list_filter(r.messages, lambda m: m.role = 'user')[-1].content AS question,
    r.messages[-1].content AS answer
FROM selected AS r
LEFT JOIN generations AS g
    ON g.experiment = r.experiment
        AND g.round = r.source_round
        AND (g.part = 'rollout' OR starts_with(g.part, 'followup/'))
        AND g.generation_id = r.generation_id
LEFT JOIN scores AS s
    ON s.experiment = g.experiment AND s.round = g.round AND s.part = g.part || '/score' AND s.item_id = g.generation_id
