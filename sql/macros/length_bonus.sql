-- length_bonus(tokens, multiplier, longest, most, weight): weight * min(multiplier * tokens / longest, most), for longer answers.
--   tokens: response_tokens; longest: the most that may be generated; most: share of the bonus where it stops; gives a double
--   those that are not given are the source's: multiplier 1, longest 1024, most 0.8, weight 5
-- Example: length_bonus(1024) is 4, length_bonus(256, multiplier := 2) is 2.5.
-- Source: Sun et al. (SALMON), arXiv 2310.05910, trainer of its code.
CREATE MACRO length_bonus(tokens, multiplier := 1.0, longest := 1024, most := 0.8, weight := 5.0) AS
    -- least passes nulls over
    CASE WHEN tokens IS NOT NULL THEN weight::DOUBLE * least(multiplier::DOUBLE * tokens::DOUBLE / longest::DOUBLE, most::DOUBLE) END
