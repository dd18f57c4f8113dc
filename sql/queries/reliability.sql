-- The bins behind @calibration, for a reliability diagram: by round and bin of equal width (it holds its right end) the answers, their
-- mean confidence, and the share of them that are right.
--   $confidence          a scorer that gives a probability
--   $outcome = "score"   the scorer that tells right from wrong
--   $bar = 1.0           an answer is right from this number on
--   $bins = 10           bins
--   $experiment = null   one experiment; null: all
--   $part = "rollout"    rollout, eval, calibrate or followup/NAME
WITH binned AS (
    SELECT
        c.experiment,
        c.round,
        c.item_id,
        c.value AS confidence,
        (o.value >= $bar::DOUBLE)::INTEGER AS is_right,
        calibration_bin(c.value, $bins) AS bin
    FROM lake.scores AS c
    INNER JOIN lake.scores AS o
        ON o.experiment = c.experiment AND o.round = c.round AND o.item_id = c.item_id AND o.part = $part || '/' || $outcome
    WHERE
        c.part = $part || '/' || $confidence
        AND c.value IS NOT NULL
        AND o.value IS NOT NULL
        AND c.segment IS NULL
        AND o.segment IS NULL
        AND ($experiment::VARCHAR IS NULL OR c.experiment = $experiment)
)

SELECT
    experiment,
    round,
    bin,
    (bin - 1) / $bins::DOUBLE AS low,
    bin / $bins::DOUBLE AS high,
    count(item_id) AS answers,
    fsum(confidence) / count(item_id) AS confidence,
    sum(is_right)::BIGINT / count(item_id) AS accuracy
FROM binned
GROUP BY experiment, round, bin
ORDER BY experiment, round, bin
