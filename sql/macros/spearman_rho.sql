-- spearman_rho(ours, theirs): Spearman's rho of two lists of scores of the same answers, by ordinal ranks (equal scores in the
-- order of the lists): 1 - 6 sum((J_i - K_i)^2) / (n (n^2 - 1)).
--   ours, theirs: lists of equal length without nulls; gives a double in [-1, 1], null for fewer than two answers
-- Example: spearman_rho([5, 4, 3, 2, 1], [5, 3, 4, 1, 2]) is 0.8.
CREATE MACRO spearman_rho(ours, theirs) AS
    CASE
        WHEN len(ours) <> len(theirs)
            THEN error(format('spearman_rho: {} scores against {}', len(ours), len(theirs)))::DOUBLE
        WHEN len(ours) < 2 THEN NULL
        ELSE 1.0::DOUBLE - list_sum(
            list_transform(
                list_zip(ordinal_ranks(ours), ordinal_ranks(theirs)),
                lambda pair: (pair[1] - pair[2]) * (pair[1] - pair[2])
            )
        )::DOUBLE * 6 / (len(ours) * (len(ours) * len(ours) - 1))
    END
