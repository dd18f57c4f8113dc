-- pass@K-S: the chance that at least S of K answers drawn without repetition are right (score >= 1).
--   $k  answers drawn, the number after the @
--   $s  right ones among them, the number after the dash: pass_s@4-2
-- Hypergeometric, so it holds for more samples than K: sum over i >= S of C(c, i) C(n-c, K-i) / C(n, K). pass_s@K-1 is pass@K.
-- Source: exploration metric of Zeng et al., "B-STaR", arXiv 2412.17256.
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
        WHEN $s::BIGINT > least($k::BIGINT, c) THEN 0.0
        WHEN $s::BIGINT <= $k::BIGINT - (n - c) THEN 1.0
        ELSE least(1.0, list_aggregate(
            list_transform(
                range(greatest($s::BIGINT, $k::BIGINT - (n - c)), least($k::BIGINT, c) + 1),
                lambda i: exp(
                    lgamma(c + 1) - lgamma(i + 1) - lgamma(c - i + 1)
                    + lgamma(n - c + 1) - lgamma($k::BIGINT - i + 1) - lgamma(n - c - $k::BIGINT + i + 1)
                    - lgamma(n + 1) + lgamma($k::BIGINT + 1) + lgamma(n - $k::BIGINT + 1)
                )
            ),
            'fsum'
        ))
    END AS value
FROM counted
