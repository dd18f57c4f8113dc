-- entropy(weights): Shannon's entropy of the shares of groups, in nats: 0 where one group has all, ln(n) where n have equal shares.
--   weights: list of numbers from 0 up, one a group, not all zero; gives a double, null for an empty list
-- Example: entropy([2, 2]) is 0.693147, entropy([4, 0]) is 0.
CREATE MACRO entropy(weights) AS
    CASE
        WHEN len(weights) > 0
            THEN list_aggregate(list_transform(shares(weights), lambda p: if(p > 0, 0.0::DOUBLE - p * ln(p), 0.0::DOUBLE)), 'fsum')
    END
