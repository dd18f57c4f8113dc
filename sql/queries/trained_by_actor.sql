-- Whose rows trained each checkpoint: rows as they were consumed and how many different ones, response tokens and mean score, by
-- actor. Rows of earlier rounds (cumulative data, replay) count for whoever wrote them then.
--   $experiment = null  one experiment; null: all
-- tokens is null where an actor's answers were not counted (gold and recorded ones); mean_score leaves rows without a score out.
SELECT
    experiment,
    round,
    role,
    digest,
    actor,
    sum(times)::BIGINT AS rows,
    count(row_id) AS distinct_rows,
    sum(times) / sum(sum(times)) OVER (PARTITION BY experiment, round, role, digest) AS share,
    sum(times * response_tokens)::BIGINT AS tokens,
    fsum(times * score) / sum(times) FILTER (WHERE score IS NOT NULL) AS mean_score
FROM lake.lineage
WHERE $experiment::VARCHAR IS NULL OR experiment = $experiment
GROUP BY experiment, round, role, digest, actor
ORDER BY experiment, round, role, digest, actor
