-- pass@k: the chance that at least one of k answers drawn without repetition is right (score >= 1).
--   $k  answers drawn, the number after the @
-- Unbiased: 1 - C(n-c, k) / C(n, k) = 1 - product over i = n-c+1..n of (1 - k/i), for n answers of which c are right.
-- Source: Chen et al., "Evaluating Large Language Models Trained on Code", arXiv 2107.03374.
WITH counted AS (
    SELECT
        prompt_id,
        count(generation_id) AS n,
        count(generation_id) FILTER (WHERE score >= 1) AS c
    FROM answers
    GROUP BY prompt_id
)

SELECT
    prompt_id,
    CASE
        WHEN $k::BIGINT > n THEN error(format('k is {} but a prompt has {} samples', $k::BIGINT, n))::DOUBLE
        WHEN n - c < $k::BIGINT THEN 1.0
        ELSE 1.0 - coalesce(list_reduce(list_transform(range(n - c + 1, n + 1), lambda i: 1.0::DOUBLE - $k::DOUBLE / i), lambda a, b: a * b, 1.0::DOUBLE), 1.0)
    END AS value
FROM counted
