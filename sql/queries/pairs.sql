-- What was paired and why, newest round first: both answers with their scores and who wrote them.
--   $experiment = null  one experiment; null: all
--   $round = null       one round; null: all
--   $limit = 100        rows at most
SELECT
    experiment,
    round,
    role,
    prompt_id,
    chosen_id,
    rejected_id,
    origin,
    source_round,
    weight,
    margin,
    probability,
    score,
    rejected_score,
    actor,
    rejected_actor,
    reason,
    question,
    answer,
    rejected
FROM lake.paired_rows
WHERE ($experiment::VARCHAR IS NULL OR experiment = $experiment) AND ($round::BIGINT IS NULL OR round = $round)
ORDER BY round DESC, experiment, role, prompt_id, row_id
LIMIT $limit
