-- minmax_within(x, by_): x from 0 (the smallest) to 1 (the largest) among the answers that share `by_`; 0 where all are equal.
--   x: number; by_: prompt_id, or a constant for all answers of the part; gives a double, null where x is null
-- Example: among three answers of a prompt with 2, 3 and 6 they are 0, 0.25 and 1.
CREATE MACRO minmax_within(x, by_) AS
    CASE
        WHEN x IS NULL THEN NULL
        WHEN max(x::DOUBLE) OVER (PARTITION BY by_) = min(x::DOUBLE) OVER (PARTITION BY by_) THEN 0.0::DOUBLE
        ELSE
            (x::DOUBLE - min(x::DOUBLE) OVER (PARTITION BY by_))
            / (max(x::DOUBLE) OVER (PARTITION BY by_) - min(x::DOUBLE) OVER (PARTITION BY by_))
    END
