-- pass_at_k(n, c, k): the chance that at least one of k answers is right, drawn without repetition from n of which c are right.
--   whole numbers, 0 <= c <= n; k > n is an error; gives a double
-- Unbiased: 1 - C(n-c, k) / C(n, k) = 1 - product over i = n-c+1..n of (1 - k/i).
-- Example: pass_at_k(8, 2, 4) is 0.785714.
-- Source: Chen et al., "Evaluating Large Language Models Trained on Code", arXiv 2107.03374.
CREATE MACRO pass_at_k(n, c, k) AS
    CASE
        WHEN k::BIGINT > n THEN error(format('k is {} but a prompt has {} samples', k::BIGINT, n))::DOUBLE
        WHEN n - c < k::BIGINT THEN 1.0
        ELSE 1.0 - list_reduce(range(n - c + 1, n + 1), lambda left_, i: left_ * (1.0::DOUBLE - k::DOUBLE / i), 1.0::DOUBLE)
    END
