-- Right answers of the prompts that the policy sometimes solves: those whose pass rate is above $lo and at most $hi.
--   $lo = 0.0          a prompt must do better than this; 0: at least one right answer
--   $hi = 1.0          and no better than this; below 1: prompts that are always solved are left out too
--   $min_score = 1.0   score from which an answer is right
--   $top = null        right answers of each prompt, the earliest; null: all
--   $weight = "one"    one, or variance: p (1 - p), which is largest where right and wrong are even
-- Source: RIF-RFT (arXiv 2507.05386) leaves out prompts that no rollout solves; leaving out always solved ones too is common where
-- advantages are relative to a group, since those are zero then. Under generate.until the rate is biased: sampling stopped because
-- of the answers; 0 and 1 still mean none and all of `cap` trials.
WITH rates AS (
    SELECT
        prompt_id,
        count(generation_id) FILTER (WHERE score >= $min_score) AS right_answers,
        count(generation_id) AS trials,
        right_answers / trials AS rate
    FROM scored
    GROUP BY prompt_id
)

SELECT
    s.prompt_id,
    s.generation_id,
    row_number() OVER (PARTITION BY s.prompt_id ORDER BY s.sample, s.generation_id) AS rank,
    CASE $weight
        WHEN 'one' THEN 1.0::DOUBLE
        WHEN 'variance' THEN rates.rate * (1.0::DOUBLE - rates.rate)
        -- a failing cast carries the message
        ELSE format('weight: expected one or variance, found {}', $weight)::DOUBLE
    END AS weight,
    format('{} of {} right', rates.right_answers, rates.trials) AS reason
FROM scored AS s
INNER JOIN rates ON rates.prompt_id = s.prompt_id
WHERE s.score >= $min_score AND rates.rate > $lo AND rates.rate <= $hi
QUALIFY $top::BIGINT IS NULL OR rank <= $top::BIGINT
