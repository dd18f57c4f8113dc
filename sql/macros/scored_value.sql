-- scored_value(item_id, value, generation_id, scorer): an answer's number from a LEFT JOIN with scores.
--   item_id, value: what the join found, null where it found nothing; generation_id, scorer: what it looked for
--   gives the double that the scorer gave (null where it gave none), and an error that names answer and scorer where there is no row
-- Example: scored_value('g1', 0.5, 'g1', 'rm') is 0.5.
CREATE MACRO scored_value(item_id, value, generation_id, scorer) AS
    CASE WHEN item_id IS NULL THEN error(format('answer {} has no row of the scorer {:s}', generation_id, scorer))::DOUBLE ELSE value END
