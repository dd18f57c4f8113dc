-- From a checkpoint back: one row for each row that trained it, how often it was consumed, the score that chose it, who
-- wrote it (actor, and written_by: the model), its prompt. digest is the checkpoint.
WITH consumed AS (
    SELECT experiment, round, part, digest, row_id, count(position) AS times, min(position) AS first_position
    FROM trained_rows
    GROUP BY experiment, round, part, digest, row_id
)

SELECT
    c.experiment,
    c.round,
    c.part AS role,
    c.digest,
    c.row_id,
    c.times,
    c.first_position,
    r.prompt_id,
    r.generation_id,
    r.origin,
    r.source_round,
    r.weight,
    r.reason,
    r.score,
    r.verdict,
    r.actor,
    r.written_by,
    r.response_tokens,
    r.question,
    r.answer
FROM consumed AS c
LEFT JOIN selected_rows AS r ON r.experiment = c.experiment AND r.round = c.round AND r.role = c.part AND r.row_id = c.row_id
