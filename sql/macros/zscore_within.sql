-- zscore_within(x, by_): (x - mean) / standard deviation of the population, over the answers that share `by_`; 0 where all are equal.
--   x: number; by_: prompt_id, or a constant for all answers of the part; gives a double, null where x is null (nulls do not count)
-- Example: among four answers of a prompt with 0.731059, 0.268941, -0.182426, -0.622459 they are 1.352446, 0.436416, -0.458304, -1.330559.
-- Source: group advantages of GRPO (Shao et al., arXiv 2402.03300). The window is ordered by x: equal bits for any order of rows.
-- Their mean is 0 whatever the answers are: a gate on `mean` or pass@k of such a score says nothing.
CREATE MACRO zscore_within(x, by_) AS
    CASE
        WHEN x IS NULL THEN NULL
        WHEN max(x::DOUBLE) OVER (PARTITION BY by_) = min(x::DOUBLE) OVER (PARTITION BY by_) THEN 0.0::DOUBLE
        ELSE
            (
                x::DOUBLE
                - fsum(x::DOUBLE) OVER (PARTITION BY by_ ORDER BY x::DOUBLE ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
                / count(x) OVER (PARTITION BY by_)
            )
            / stddev_pop(x::DOUBLE) OVER (PARTITION BY by_ ORDER BY x::DOUBLE ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    END
