-- A control: the worked examples of the base and nothing else, so that a round only trains longer.
-- No parameters. Needs an experiment whose base was trained from data (round -1 then holds its rows).
SELECT
    row_id,
    prompt_id,
    generation_id,
    messages,
    weight,
    label,
    cluster_id,
    rank,
    "order",
    origin,
    source_round,
    reason
FROM history.selected
WHERE round = -1 AND origin = 'gold'
