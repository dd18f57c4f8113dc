-- top_order(ours, theirs): 1 where two lists of scores of the same answers agree on the best one and on the worst one, else 0.
--   ours, theirs: lists of equal length without nulls, equal scores ranked in the order of the lists; null for fewer than two answers
-- Example: top_order([3, 2, 1], [9, 5, 0]) is 1, top_order([3, 2, 1], [9, 0, 5]) is 0.
-- Source: the TopOrder of CREAM (arXiv 2410.12735) as intended; its code compares the ranks of the first and the last sample.
CREATE MACRO top_order(ours, theirs) AS
    CASE
        WHEN len(ours) <> len(theirs)
            THEN error(format('top_order: {} scores against {}', len(ours), len(theirs)))::DOUBLE
        WHEN len(ours) < 2 THEN NULL
        ELSE (
            list_position(ordinal_ranks(ours), 1) = list_position(ordinal_ranks(theirs), 1)
            AND list_position(ordinal_ranks(ours), len(ours)) = list_position(ordinal_ranks(theirs), len(theirs))
        )::INTEGER::DOUBLE
    END
