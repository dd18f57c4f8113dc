-- direction(numbers, towards): the reward in one direction: the dot product of an answer's numbers with a vector of length 1.
--   numbers: list, one a head of a reward model (heads of unlike scales: zscore_within first); gives a double
--   towards: list of as many numbers, of any length but 0, such as the whole numbers that a prompt names; null where one is null
-- Example: direction([70, 30], [97, -26]) is 59.846, direction([70, 30], [1, 0]) is 70.
-- Source: Wang et al., "Arithmetic Control of LLMs for Diverse User Preferences" (DPA), arXiv 2402.18571.
CREATE MACRO direction(numbers, towards) AS
    list_transform(
        [{'x': numbers::DOUBLE[], 'v': towards::DOUBLE[]}],
        lambda pair: CASE
            -- a failing cast carries the message: error() would keep the macro out of ORDER BY
            WHEN len(pair.x) <> len(pair.v) THEN format('a direction of {} numbers for {} of the answer', len(pair.v), len(pair.x))::DOUBLE
            WHEN len(list_filter(pair.x || pair.v, lambda n: n IS NULL)) > 0 THEN NULL
            WHEN coalesce(list_max(list_transform(pair.v, lambda n: abs(n))), 0) = 0 THEN 'a direction has a number other than 0'::DOUBLE
            ELSE
                list_aggregate(list_transform(pair.x, lambda n, i: n * pair.v[i]), 'fsum')
                / sqrt(list_aggregate(list_transform(pair.v, lambda n: n * n), 'fsum'))
        END
    )[1]
