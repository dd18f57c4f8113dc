-- sigmoid(x): 1 / (1 + exp(-x)), from 0 to 1.
--   x: number; gives a double, null where x is null
-- Example: sigmoid(1) is 0.731059. Neither side overflows.
CREATE MACRO sigmoid(x) AS
    CASE
        WHEN x >= 0 THEN 1.0::DOUBLE / (1.0::DOUBLE + exp(-x::DOUBLE))
        WHEN x < 0 THEN exp(x::DOUBLE) / (1.0::DOUBLE + exp(x::DOUBLE))
    END
