-- temperature_shares(sizes, temperature): shares of groups as size ** (1 / temperature): 1 is proportional to the sizes, a high
-- temperature nearly uniform.
--   sizes: list of numbers from 0 up, one a group; gives a list of doubles that sum to 1
-- Example: temperature_shares([1000, 100, 10], 5) is [0.493, 0.311, 0.196].
-- Source: temperature sampling in "Upsample or Upweight?", arXiv 2410.04579.
CREATE MACRO temperature_shares(sizes, temperature) AS
    shares(
        list_transform(
            [{'of': sizes::DOUBLE[], 'top': greatest(list_max(sizes::DOUBLE[]), 1.0::DOUBLE)}],
            lambda all_: list_transform(all_.of, lambda n: (n / all_.top) ** (1.0::DOUBLE / temperature::DOUBLE))
        )[1]
    )
