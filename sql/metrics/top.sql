-- Reward@K-S: whether the S answers with the highest scores among the first K are all right; ties to the earlier one.
--   $k  answers, the number after the @
--   $s  the best of them, the number after the dash: top@8-2
-- Right is what the verifiers say (verdict), else a score of 1 or more: a score may hold a reward beside correctness.
-- Source: exploitation metric of Zeng et al., "B-STaR", arXiv 2412.17256.
WITH first_k AS (
    SELECT
        prompt_id,
        generation_id,
        sample,
        score,
        coalesce(verdict = 'right', score >= 1, false) AS is_right,
        count(generation_id) OVER (PARTITION BY prompt_id) AS n
    FROM answers
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) <= $k
),

best AS (
    SELECT prompt_id, n, is_right
    FROM first_k
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC NULLS LAST, sample, generation_id) <= $s
)

SELECT
    prompt_id,
    CASE
        WHEN max(n) < $k::BIGINT THEN error(format('k is {} but a prompt has {} samples', $k::BIGINT, max(n)))::DOUBLE
        ELSE (bool_and(is_right) AND count(n) = $s::BIGINT)::INTEGER
    END AS value
FROM best
GROUP BY prompt_id
