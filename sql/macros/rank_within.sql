-- rank_within(x, by_): how many of the answers that share `by_` have a smaller x; equal ones have the same number.
--   x: number; by_: prompt_id, or a constant for all answers of the part; gives a double from 0 up, null where x is null
-- Example: among four answers of a prompt with 0.5, 2, 2 and 7 they are 0, 1, 1 and 3.
CREATE MACRO rank_within(x, by_) AS
    CASE WHEN x IS NOT NULL THEN (rank() OVER (PARTITION BY by_ ORDER BY x NULLS LAST) - 1)::DOUBLE END
