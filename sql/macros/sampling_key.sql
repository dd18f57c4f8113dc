-- sampling_key(seed, key, weight): the n rows with the smallest keys are a draw of n rows without replacement in which each
-- next row is taken with a chance proportional to its weight. Weight 0 comes after all others; a negative one is an error.
--   seed, key: as of draw(seed, key), the key a row's id; weight: a number from 0 up; gives a double, perhaps infinity
-- Example: ORDER BY sampling_key($seed, prompt_id, score), prompt_id LIMIT 10
-- Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", IPL 2006: -ln(u) / weight has the same order
-- as u ** (1 / weight) and does not underflow.
CREATE MACRO sampling_key(seed, key, weight) AS
    CASE
        -- a failing cast carries the message: error() would keep the macro out of ORDER BY
        WHEN weight < 0 THEN format('a weight of {} cannot be drawn by', weight)::DOUBLE
        WHEN weight > 0 THEN -ln(1.0::DOUBLE - draw(seed, key)) / weight::DOUBLE
        ELSE 'infinity'::DOUBLE
    END
