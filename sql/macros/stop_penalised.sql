-- stop_penalised(x, finish_reason, penalty): x, less the penalty where the answer did not come to its end by itself.
--   finish_reason: the column of that name ('stop' is an end); penalty: points, 6 in the source; gives a double
-- Example: stop_penalised(1.5, 'length', 6) is -4.5.
-- Source: Sun et al. (SALMON), arXiv 2310.05910. TULU 3 puts -10 in the place of the score: if(finish_reason = 'stop', x, -10).
CREATE MACRO stop_penalised(x, finish_reason, penalty) AS
    x::DOUBLE - if(finish_reason = 'stop', 0.0::DOUBLE, penalty::DOUBLE)
