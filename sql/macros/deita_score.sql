-- deita_score(complexities, qualities): DEITA's score of a conversation: the sum over turns of complexity times quality.
--   complexities, qualities: lists of numbers, one a turn, of equal length; gives a double
-- Example: deita_score([2, 3], [4, 5]) is 23.
-- Source: Liu et al., "What Makes Good Data for Alignment?" (DEITA), arXiv 2312.15685.
CREATE MACRO deita_score(complexities, qualities) AS
    CASE
        WHEN len(complexities) <> len(qualities)
            THEN error(format('deita_score: {} complexities, {} qualities', len(complexities), len(qualities)))::DOUBLE
        ELSE list_aggregate(list_transform(complexities::DOUBLE[], lambda c, place: c * qualities[place]::DOUBLE), 'fsum')
    END
