-- pearson(xs, ys): the correlation of two lists of numbers, -1 to 1.
--   lists of doubles of equal length, without nulls; null for fewer than two numbers or where one list does not vary
-- Sums are compensated and in the order of the lists, so equal lists give equal bits; corr() depends on how rows were batched.
-- Example: pearson([1, 2, 3, 4], [1, 3, 2, 4]) is 0.8.
-- Source: Pearson, "Note on Regression and Inheritance in the Case of Two Parents", Proc. R. Soc. 58, 1895.
CREATE MACRO pearson(xs, ys) AS
    list_transform(
        list_transform(
            list_transform(
                [{'x': xs::DOUBLE[], 'y': ys::DOUBLE[]}],
                lambda given: {
                    'x': list_transform(given.x, lambda a: a - list_aggregate(given.x, 'fsum') / len(given.x)),
                    'y': list_transform(given.y, lambda b: b - list_aggregate(given.y, 'fsum') / len(given.y))
                }
            ),
            lambda moved: {
                'xy': list_aggregate(list_transform(moved.x, lambda a, i: a * moved.y[i]), 'fsum'),
                'xx': list_aggregate(list_transform(moved.x, lambda a: a * a), 'fsum'),
                'yy': list_aggregate(list_transform(moved.y, lambda b: b * b), 'fsum')
            }
        ),
        lambda sums: if(sums.xx > 0 AND sums.yy > 0, greatest(-1.0, least(1.0, sums.xy / sqrt(sums.xx * sums.yy))), NULL)
    )[1]
