-- multinomial(weights, n, seed, key): how often each group is drawn in `n` draws with replacement, in proportion to the weights.
--   weights: list of numbers from 0 up, one a group, ordered by the groups' ids; n: whole number
--   seed, key: draw i takes draw(seed, key/i), so equal arguments give equal counts
-- Example: list_sum(multinomial([0.2, 0.8], 10, 7, 'clusters')) is 10; where all weights are zero, nothing is drawn.
-- Source: cluster draws of Diversify-and-Conquer, arXiv 2409.11378. The work grows with groups x draws.
CREATE MACRO multinomial(weights, n, seed, key) AS
    list_transform(
        list_transform(
            list_transform(
                [list_reduce(
                    weights::DOUBLE[],
                    lambda line, w: {'total': line.total + w, 'ends': list_append(line.ends, line.total + w)},
                    {'total': 0.0::DOUBLE, 'ends': []::DOUBLE[]}
                )],
                lambda line: {
                    'line': line,
                    'drawn': if(line.total > 0, list_transform(range(n::BIGINT), lambda i: draw(seed, concat(key, '/', i)) * line.total), [])
                }
            ),
            -- draws below the end of each group; the last one also takes a draw that rounding lifts to the end of the line
            lambda all_: list_transform(
                all_.line.ends,
                lambda stop: len(if(stop < all_.line.total, list_filter(all_.drawn, lambda u: u < stop), all_.drawn))
            )
        ),
        lambda below: list_transform(below, lambda b, i: b - if(i > 1, below[i - 1], 0))
    )[1]
