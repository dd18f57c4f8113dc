-- How far each round's policy is from a reference, from its own answers: two estimates of the KL divergence in nats, an answer: k1, the
-- mean of log policy - log reference (unbiased, may be negative), and k3, the mean of exp(d) - d - 1 with d = log reference - log policy
-- (unbiased, never negative). k1_token is k1 a token.
--   $log_ratio           a scorer: log policy - log reference of an answer, a sum over its tokens
--   $experiment = null   one experiment; null: all
--   $part = "rollout"    rollout or eval: answers that the policy sampled at temperature 1
-- Source: Schulman, "Approximating KL Divergence", 2020. k3 of whole answers is steep: one answer far from the policy outweighs all.
WITH ratios AS (
    SELECT s.experiment, s.round, s.item_id, s.value AS ratio, g.response_tokens AS tokens
    FROM lake.scores AS s
    INNER JOIN lake.generations AS g
        ON g.experiment = s.experiment AND g.round = s.round AND g.part = $part AND g.generation_id = s.item_id
    WHERE
        s.part = $part || '/' || $log_ratio
        AND s.value IS NOT NULL
        AND s.segment IS NULL
        AND ($experiment::VARCHAR IS NULL OR s.experiment = $experiment)
),

means AS (
    SELECT
        experiment,
        round,
        count(item_id) AS answers,
        fsum(ratio) / count(item_id) AS k1,
        -- the difference is held at 700, where exp() is near the largest number
        fsum(kl_k3(least(0.0::DOUBLE - ratio, 700.0))) / count(item_id) AS k3,
        fsum(ratio) / nullif(sum(tokens)::BIGINT, 0) AS k1_token
    FROM ratios
    GROUP BY experiment, round
),

spreads AS (
    SELECT r.experiment, r.round, fsum((r.ratio - m.k1) ** 2) AS squares
    FROM ratios AS r
    INNER JOIN means AS m ON m.experiment = r.experiment AND m.round = r.round
    GROUP BY r.experiment, r.round
)

SELECT
    m.experiment,
    m.round,
    m.answers,
    m.k1,
    sqrt(s.squares / nullif(m.answers - 1, 0) / m.answers) AS k1_stderr,
    m.k3,
    m.k1_token
FROM means AS m
INNER JOIN spreads AS s ON s.experiment = m.experiment AND s.round = m.round
ORDER BY m.experiment, m.round
