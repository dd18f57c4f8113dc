-- What was paired and why: each pair with the scores, actors and models of both answers, the question and the answers. score, verdict,
-- actor, written_by, response_tokens and answer are those of the chosen answer; rejected_... those of the rejected one. Scores and models
-- come from the round that the row is from (source_round), so they are null where the schema does not show that round. A side that
-- is no answer in the lake, such as a prompt's gold answer, has the origin of its text as the actor.
SELECT
    r.experiment,
    r.round,
    r.part AS role,
    r.row_id,
    r.prompt_id,
    r.chosen_id,
    r.rejected_id,
    r.third_id,
    r.chosen_id AS generation_id,
    r.origin,
    r.source_round,
    r.weight,
    r.margin,
    r.probability,
    r.ref_chosen_logps,
    r.ref_rejected_logps,
    r.reason,
    ws.value AS score,
    ws.verdict,
    ls.value AS rejected_score,
    ls.verdict AS rejected_verdict,
    CASE WHEN r.chosen_id IS NULL THEN r.chosen[-1].origin ELSE w.actor END AS actor,
    w.model AS written_by,
    w.response_tokens,
    CASE WHEN r.rejected_id IS NULL THEN r.rejected[-1].origin ELSE l.actor END AS rejected_actor,
    l.model AS rejected_by,
    l.response_tokens AS rejected_tokens,
    list_filter(r.messages, lambda m: m.role = 'user')[-1].content AS question,
    r.chosen[-1].content AS answer,
    r.rejected[-1].content AS rejected
FROM pairs AS r
LEFT JOIN generations AS w
    ON w.experiment = r.experiment
        AND w.round = r.source_round
        AND (w.part = 'rollout' OR starts_with(w.part, 'followup/'))
        AND w.generation_id = r.chosen_id
LEFT JOIN scores AS ws
    ON ws.experiment = w.experiment AND ws.round = w.round AND ws.part = w.part || '/score' AND ws.item_id = w.generation_id
LEFT JOIN generations AS l
    ON l.experiment = r.experiment
        AND l.round = r.source_round
        AND (l.part = 'rollout' OR starts_with(l.part, 'followup/'))
        AND l.generation_id = r.rejected_id
LEFT JOIN scores AS ls
    ON ls.experiment = l.experiment AND ls.round = l.round AND ls.part = l.part || '/score' AND ls.item_id = l.generation_id
