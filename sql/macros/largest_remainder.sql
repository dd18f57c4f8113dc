-- largest_remainder(weights, total): whole counts that sum to `total` and are proportional to the weights; what rounding down
-- leaves goes to the largest fractions, ties to the earlier group.
--   weights: list of numbers from 0 up, one a group, ordered by the groups' ids; all zero is an error unless `total` is 0
--   total: whole number; gives a list of whole numbers in the order of `weights`
-- Example: largest_remainder([0.25212, 0.18678, 0.56110], 12) is [3, 2, 7].
-- Source: Hamilton's method of apportionment.
CREATE MACRO largest_remainder(weights, total) AS
    list_transform(
        list_transform(
            list_transform(
                [{'of': weights::DOUBLE[], 'sum': list_aggregate(weights::DOUBLE[], 'fsum')}],
                lambda given: list_transform(given.of, lambda w: if(w > 0, w * total::DOUBLE / given.sum, 0.0::DOUBLE))
            ),
            lambda quotas: {
                'quotas': quotas,
                'rest': CASE
                    WHEN total::BIGINT > 0 AND coalesce(list_max(weights::DOUBLE[]), 0) <= 0
                        -- a failing cast carries the message: error() would keep the macro out of ORDER BY
                        THEN format('{} to share out, and no group has a weight above 0', total)::BIGINT
                    ELSE total::BIGINT - list_sum(list_transform(quotas, lambda q: floor(q)::BIGINT))
                END
            }
        ),
        lambda whole: list_transform(
            list_sort(
                list_transform(
                    list_sort(list_transform(whole.quotas, lambda q, i: {'lost': floor(q) - q, 'i': i, 'n': floor(q)::BIGINT})),
                    lambda one, place: {'i': one.i, 'n': one.n + if(place <= whole.rest, 1, 0)}
                )
            ),
            lambda one: one.n
        )
    )[1]
