-- forgotten(age, beta): the weight of a row that last trained `age` rounds ago where what is probably forgotten is preferred:
-- 1 - (1 + age) ** -beta, the part of it that a power law of forgetting has lost.
--   age: whole rounds from 0 up (an error below); beta: speed of forgetting; gives a double in [0, 1)
-- Example: forgotten(1, 1) is 0.5, forgotten(3, 1) is 0.75.
-- Source: a building block of the catalogue, the complement of power_law(age, beta).
CREATE MACRO forgotten(age, beta) AS
    CASE
        -- a failing cast carries the message: error() would keep the macro out of ORDER BY
        WHEN age < 0 THEN format('an age of {} rounds: expected 0 or more', age)::DOUBLE
        ELSE 1.0::DOUBLE - (1.0::DOUBLE + age) ** -beta::DOUBLE
    END
