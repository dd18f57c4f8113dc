-- best-of-K: whether the answer with the highest score among the first K is right; ties to the earlier one.
--   $k  answers, the number after the @
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
)

SELECT
    prompt_id,
    CASE
        WHEN n < $k::BIGINT THEN error(format('k is {} but a prompt has {} samples', $k::BIGINT, n))::DOUBLE
        ELSE is_right::INTEGER
    END AS value
FROM first_k
QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC NULLS LAST, sample, generation_id) = 1
