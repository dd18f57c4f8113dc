-- From a checkpoint back: one row for each row that trained it, how often it was consumed, the score that chose it, who
-- wrote it (actor, and written_by: the model), its prompt. digest is the checkpoint; role is the one that the rows trained: a
-- merged checkpoint leads to the rows of those of its parents that its round trained. Of a pair, generation_id, score, actor and answer
-- are those of the chosen answer, rejected_... those of the rejected one.
WITH RECURSIVE made AS (
    SELECT experiment, round, digest, digest AS of_digest, part AS of_role
    FROM checkpoints
    UNION
    SELECT m.experiment, m.round, m.digest, p.digest AS of_digest, p.part AS of_role
    FROM made AS m
    INNER JOIN checkpoints AS c ON c.experiment = m.experiment AND c.round = m.round AND c.digest = m.of_digest AND c.part = m.of_role
    INNER JOIN checkpoints AS p ON p.experiment = m.experiment AND p.round = m.round AND list_contains(c.parents, p.digest)
    WHERE starts_with(c.objective, 'merge:')
),

consumed AS (
    SELECT
        m.experiment, m.round, t.part, m.digest, t.row_id, count(t.position) AS times, min(t.position) AS first_position
    FROM (SELECT DISTINCT experiment, round, digest, of_digest, of_role FROM made) AS m
    INNER JOIN trained_rows AS t
        ON t.experiment = m.experiment AND t.round = m.round AND t.digest = m.of_digest AND t.part = m.of_role
    GROUP BY m.experiment, m.round, t.part, m.digest, t.row_id
),

shown AS (
    SELECT * FROM selected_rows
    UNION ALL BY NAME
    SELECT * FROM paired_rows
    UNION ALL BY NAME
    SELECT * FROM sampled_rows
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
    r.answer,
    r.margin,
    r.probability,
    r.rejected_id,
    r.rejected_score,
    r.rejected_actor,
    r.rejected_by,
    r.rejected
FROM consumed AS c
LEFT JOIN shown AS r ON r.experiment = c.experiment AND r.round = c.round AND r.role = c.part AND r.row_id = c.row_id
