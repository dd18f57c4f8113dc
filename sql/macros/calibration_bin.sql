-- calibration_bin(confidence, bins): which of `bins` bins of equal width a confidence falls in, from 1 to `bins`; a bin holds its
-- right end, the first one 0 too.
--   confidence: number in [0, 1] (an error outside); bins: whole number from 1 up; gives a whole number
-- Example: calibration_bin(0.6, 5) is 3, calibration_bin(0, 5) is 1, calibration_bin(0.61, 5) is 4.
-- Source: Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599, with bins open on the left.
CREATE MACRO calibration_bin(confidence, bins) AS
    CASE
        -- a failing cast carries the message: error() would keep the macro out of ORDER BY
        WHEN confidence < 0 OR confidence > 1 THEN format('a confidence of {}: expected 0 to 1', confidence)::BIGINT
        -- rounded, since 0.07 * 100 is more than 7 in binary
        ELSE greatest(ceil(round(confidence::DOUBLE * bins::BIGINT, 9))::BIGINT, 1)
    END
