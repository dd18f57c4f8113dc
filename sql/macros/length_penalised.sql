-- length_penalised(x, length, weight): x - weight * length.
--   x: number; length: response_tokens, or characters; weight: points a token or character; gives a double
-- Example: length_penalised(2, 500, 0.001) is 1.5.
-- Source: RLHFlow's Online-RLHF, pair choice `max_min_p`, which counts characters.
CREATE MACRO length_penalised(x, length, weight) AS x::DOUBLE - weight::DOUBLE * length::DOUBLE
