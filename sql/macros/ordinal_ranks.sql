-- ordinal_ranks(numbers): the rank of each number, 1 for the smallest; equal ones in the order of the list.
--   numbers: list without nulls; gives a list of whole numbers, each from 1 to its length once
-- Example: ordinal_ranks([0.5, 2, 0.5]) is [1, 3, 2].
CREATE MACRO ordinal_ranks(numbers) AS
    list_transform(
        numbers,
        lambda own, i: len(list_filter(numbers, lambda other, j: other < own OR (other = own AND j <= i)))
    )
