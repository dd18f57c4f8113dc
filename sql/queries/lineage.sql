-- The rows that trained a checkpoint: score, the actor and the model that wrote them, prompt, how often they were consumed; of pairs
-- also the rejected answer.
--   $checkpoint   digest of the checkpoint, or how it begins
--   $limit = 100  rows at most
SELECT
    experiment,
    round,
    digest,
    row_id,
    times,
    origin,
    source_round,
    generation_id,
    score,
    actor,
    written_by,
    prompt_id,
    question,
    answer,
    margin,
    rejected_id,
    rejected_score,
    rejected
FROM lake.lineage
WHERE starts_with(digest, $checkpoint)
ORDER BY experiment, round, first_position, role, row_id
LIMIT $limit
