-- best_of_n_weight(place, n, k): the chance that the answer at `place` (1: the worst of n) is the best of k drawn without
-- repetition: C(place - 1, k - 1) / C(n, k). Weighted by it, any number of the answers estimates without bias what best-of-k gives.
--   whole numbers, 1 <= place <= n, 1 <= k <= n (an error otherwise); gives a double; over all places they sum to 1
-- Example: best_of_n_weight(3, 3, 2) is 0.666667, of places 1 and 2 it is 0 and 0.333333.
-- Source: the catalogue's best-of-n estimator: the order statistics of a sample without replacement.
CREATE MACRO best_of_n_weight(place, n, k) AS
    CASE
        -- a failing cast carries the message: error() would keep the macro out of ORDER BY
        WHEN k::BIGINT > n OR k::BIGINT < 1 THEN format('best of {}: there are {} answers', k::BIGINT, n)::DOUBLE
        WHEN place < k::BIGINT THEN 0.0::DOUBLE
        ELSE list_reduce(
            range(k::BIGINT - 1),
            lambda left_, i: left_ * (place - 1 - i) / (n - 1 - i),
            1.0::DOUBLE
        ) * k::BIGINT / n
    END
