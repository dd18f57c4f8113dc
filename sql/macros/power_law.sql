-- power_law(age, beta): the weight of a row that last trained `age` rounds ago: age ** -beta, so recent rows are preferred.
--   age: whole rounds, 1 or more (an error below); beta: 0 is uniform; gives a double; forgotten(age, beta) prefers old rows
-- Example: shares over ages 1 to 4 with beta 1 are 0.48, 0.24, 0.16, 0.12.
-- Source: a building block of the catalogue (power-law rehearsal has no paper that we found).
CREATE MACRO power_law(age, beta) AS
    CASE
        -- a failing cast carries the message: error() would keep the macro out of ORDER BY
        WHEN age < 1 THEN format('an age of {} rounds: expected 1 or more', age)::DOUBLE
        ELSE age::DOUBLE ** -beta::DOUBLE
    END
