-- cycle_sizes(first, last, factor, epochs): the sizes of a whole cyclical curriculum; it ends with the step that brings their
-- sum to `epochs`, the budget in passes over the rows.
--   as cycle_size; gives a list of doubles
-- Example: cycle_sizes(0.25, 1, 0.5, 6) has 11 steps that sum to 6.25.
-- Source: Kesgin and Amasyali, "Cyclical Curriculum Learning", IEEE TNNLS 2023.
CREATE MACRO cycle_sizes("first", "last", factor, epochs) AS
    list_reduce(
        range(ceil(epochs::DOUBLE / "first")::BIGINT + 1),
        lambda state, step: CASE
            WHEN state.used >= epochs THEN state
            ELSE {
                'used': state.used + cycle_size(step, "first", "last", factor),
                'sizes': list_append(state.sizes, cycle_size(step, "first", "last", factor))
            }
        END,
        {'used': 0.0::DOUBLE, 'sizes': []::DOUBLE[]}
    ).sizes
