-- What each round ran with and why: the rows of the table plan. plan: the entry of the spec; item_id: a prompt, a cluster or a
-- group (null: for all).
--   $experiment = null  one experiment; null: all
--   $round = null       one round; null: all
--   $key = null         one setting, such as "weight" or "temperature"; null: all
--   $limit = 1000       rows at most
SELECT experiment, round, part AS plan, key, item_id, value, reason
FROM lake.plan
WHERE ($experiment::VARCHAR IS NULL OR experiment = $experiment)
    AND ($round::BIGINT IS NULL OR round = $round)
    AND ($key::VARCHAR IS NULL OR key = $key)
ORDER BY experiment, round, plan, key, item_id NULLS FIRST
LIMIT $limit
