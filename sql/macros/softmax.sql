-- softmax(values, temperature): exp(value / temperature) as shares; a low temperature prefers the largest value.
--   values: list of numbers, one a group; gives a list of doubles that sum to 1
-- Example: softmax([0.2, -0.1, 1.0], 1) is [0.252, 0.187, 0.561]. The largest value is taken off first, so nothing overflows.
CREATE MACRO softmax("values", temperature) AS
    shares(
        list_transform(
            [{'of': "values"::DOUBLE[], 'top': list_max("values"::DOUBLE[])}],
            lambda all_: list_transform(all_.of, lambda v: exp((v - all_.top) / temperature::DOUBLE))
        )[1]
    )
