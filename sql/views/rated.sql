-- Every answer with every scorer's number: a row for each answer and scorer (`scored` has a column for each scorer instead, so a
-- scorer can be named there but not bound as a parameter). value is null where the scorer gave none; segments are left out.
SELECT
    g.experiment,
    g.round,
    g.part,
    g.prompt_id,
    g.generation_id,
    g.sample,
    g.turn,
    g.parent_id,
    g.depth,
    g.actor,
    g.model,
    g.response,
    g.response_tokens,
    g.finish_reason,
    s.scorer,
    s.value,
    s.verdict
FROM generations AS g
INNER JOIN scores AS s
    ON s.experiment = g.experiment
        AND s.round = g.round
        AND s.part = g.part || '/' || s.scorer
        AND s.item_id = g.generation_id
        AND s.segment IS NULL
