-- in_interval(x, lo, hi, bounds): whether x lies between lo and hi, with the ends that `bounds` says.
--   bounds: '()' neither end, '(]' hi too, '[)' lo too, '[]' both; anything else is an error
-- Example: in_interval(1.0, 0, 1, '(]') is true, in_interval(1.0, 0, 1, '()') is false.
CREATE MACRO in_interval(x, lo, hi, bounds) AS
    CASE bounds
        WHEN '()' THEN x > lo::DOUBLE AND x < hi::DOUBLE
        WHEN '(]' THEN x > lo::DOUBLE AND x <= hi::DOUBLE
        WHEN '[)' THEN x >= lo::DOUBLE AND x < hi::DOUBLE
        WHEN '[]' THEN x >= lo::DOUBLE AND x <= hi::DOUBLE
        -- a failing cast carries the message: error() would keep the macro out of ORDER BY
        ELSE format('bounds: expected (), (], [) or [], found {}', bounds)::BOOLEAN
    END
