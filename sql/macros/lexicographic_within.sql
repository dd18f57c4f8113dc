-- lexicographic_within(numbers, by_): how many of the answers that share `by_` are worse: the first number decides, the second
-- among those that agree in it, and so on; equal ones have the same number.
--   numbers: list, the most important first; by_: prompt_id, or a constant for all answers of the part
--   gives a double from 0 up, null where one of the numbers is null; a rank and no weighted sum, which would not be exact
-- Example: among four answers of a prompt with [1, 0.2], [1, 0.9], [0, 5] and [1, 0.2] they are 1, 3, 0 and 1.
CREATE MACRO lexicographic_within(numbers, by_) AS
    rank_within(CASE WHEN len(list_filter(numbers::DOUBLE[], lambda n: n IS NULL)) = 0 THEN numbers::DOUBLE[] END, by_)
