-- What was selected and why: each demonstration with its score, the policy that wrote it, question and answer. Score and
-- policy come from the round that the row is from (source_round), so they are null where the schema does not show that round.
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
    g.model AS written_by,
    g.sample,
    list_filter(r.messages, lambda m: m.role = 'user')[-1].content AS question,
    r.messages[-1].content AS answer
FROM selected AS r
LEFT JOIN generations AS g
    ON g.experiment = r.experiment AND g.round = r.source_round AND g.part = 'rollout' AND g.generation_id = r.generation_id
LEFT JOIN scores AS s
    ON s.experiment = r.experiment AND s.round = r.source_round AND s.part = 'rollout/score' AND s.item_id = r.generation_id
