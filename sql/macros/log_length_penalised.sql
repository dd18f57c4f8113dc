-- log_length_penalised(x, length, weight): x - weight * ln(length); null for an empty answer, which SuperHF drops.
--   x: number; length: characters in the source, or response_tokens; weight: points for e times the length; gives a double
-- Example: log_length_penalised(2, 100, 0.1) is 1.539483.
-- Source: the code of SuperHF (arXiv 2310.16763); the help of its option says weight * length, which is length_penalised.
CREATE MACRO log_length_penalised(x, length, weight) AS
    CASE WHEN length > 0 THEN x::DOUBLE - weight::DOUBLE * ln(length::DOUBLE) END
