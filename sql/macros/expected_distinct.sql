-- expected_distinct(found, total, vocabulary): EAD: different tokens, divided by the number that drawing `total` tokens evenly from
-- the vocabulary would give: found / (V (1 - ((V - 1) / V) ** total)). Unlike found / total it does not fall with length.
--   whole numbers, vocabulary from 1 up; gives a double, null where total is 0
-- Example: expected_distinct(4, 6, 10) is 0.853681.
-- Source: Liu et al., "Rethinking and Refining the Distinct Metric", ACL 2022.
CREATE MACRO expected_distinct(found, total, vocabulary) AS
    CASE
        WHEN total > 0
            THEN found / (vocabulary::DOUBLE * (1.0::DOUBLE - ((vocabulary::DOUBLE - 1) / vocabulary::DOUBLE) ** total::DOUBLE))
    END
