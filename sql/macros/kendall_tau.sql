-- kendall_tau(ours, theirs): Kendall's tau of two lists of scores of the same answers, by ordinal ranks (equal scores in the order
-- of the lists, as ordinal_ranks has it): 2 / (n (n - 1)) times the sum over pairs of sign((J_i - J_k) (K_i - K_k)).
--   ours, theirs: lists of equal length without nulls; gives a double in [-1, 1], null for fewer than two answers
-- Example: kendall_tau([5, 4, 3, 2, 1], [5, 3, 4, 1, 2]) is 0.6.
-- Source: the consistency of Wang et al., "CREAM", arXiv 2410.12735.
CREATE MACRO kendall_tau(ours, theirs) AS
    CASE
        WHEN len(ours) <> len(theirs)
            THEN error(format('kendall_tau: {} scores against {}', len(ours), len(theirs)))::DOUBLE
        WHEN len(ours) < 2 THEN NULL
        ELSE list_sum(
            list_transform(
                range(1, len(ours)),
                lambda i: list_sum(
                    list_transform(range(i + 1, len(ours) + 1), lambda k: if((ours[i] <= ours[k]) = (theirs[i] <= theirs[k]), 1, -1))
                )
            )
        )::DOUBLE * 2 / (len(ours) * (len(ours) - 1))
    END
