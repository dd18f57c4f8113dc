-- shares(weights): the weights divided by their sum; equal shares where all are zero.
--   weights: list of numbers from 0 up, one a group; gives a list of doubles that sum to 1
-- Example: shares([0.1, 0.3, 0.6]) is [0.1, 0.3, 0.6], shares([0, 0]) is [0.5, 0.5].
CREATE MACRO shares(weights) AS
    list_transform(
        [{'of': weights::DOUBLE[], 'total': list_aggregate(weights::DOUBLE[], 'fsum')}],
        lambda all_: list_transform(
            all_.of,
            lambda w: CASE
                -- a failing cast carries the message: error() would keep the macro out of ORDER BY
                WHEN w < 0 THEN format('a weight of {} has no share', w)::DOUBLE
                WHEN all_.total = 0 THEN 1.0::DOUBLE / len(all_.of)
                ELSE w / all_.total
            END
        )
    )[1]
