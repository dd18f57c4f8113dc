-- clipped(x, low, high): x, but at least `low` and at most `high`.
--   x: number; low, high: numbers, a null one is no limit; gives a double, null where x is null
-- Example: clipped(3.5, -1, 1) is 1.
CREATE MACRO clipped(x, low, high) AS
    -- least and greatest pass nulls over, so a missing x would come out as a limit
    CASE WHEN x IS NOT NULL THEN least(greatest(x::DOUBLE, low::DOUBLE), high::DOUBLE) END
