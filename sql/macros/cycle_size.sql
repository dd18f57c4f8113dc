-- cycle_size(step, first, last, factor): the share of the rows that step 0, 1, 2, ... of a cyclical curriculum trains on: it
-- grows from `first` by 1 / factor a step to `last`, shrinks by `factor` back to `first`, and so on.
--   first, last: shares, 0 < first <= last; factor: between 0 and 1; gives a double
-- Example: cycle_size(step, 0.25, 1, 0.5) is 0.25, 0.5, 1, 0.5, 0.25, 0.5, ... for step = 0, 1, 2, ...
-- Source: Kesgin and Amasyali, "Cyclical Curriculum Learning", IEEE TNNLS 2023.
CREATE MACRO cycle_size(step, "first", "last", factor) AS
    list_transform(
        -- steps from the smallest to the largest size; a last, shorter step counts as one
        [greatest(ceil(ln("last"::DOUBLE / "first") / -ln(factor::DOUBLE) - 1e-9), 1)::BIGINT],
        lambda up: CASE
            WHEN step::BIGINT % (2 * up) <= up THEN least("first"::DOUBLE / factor::DOUBLE ** (step::BIGINT % (2 * up)), "last"::DOUBLE)
            ELSE greatest("last"::DOUBLE * factor::DOUBLE ** (step::BIGINT % (2 * up) - up), "first"::DOUBLE)
        END
    )[1]
