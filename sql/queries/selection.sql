-- What was selected and why, newest round first.
--   $experiment = null  one experiment; null: all
--   $round = null       one round; null: all
--   $limit = 100        rows at most
SELECT experiment, round, role, prompt_id, generation_id, origin, source_round, weight, score, verdict, reason, question, answer
FROM lake.selected_rows
WHERE ($experiment::VARCHAR IS NULL OR experiment = $experiment) AND ($round::BIGINT IS NULL OR round = $round)
ORDER BY round DESC, experiment, role, prompt_id, row_id
LIMIT $limit
