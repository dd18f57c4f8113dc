-- Whether a confidence means what it says, by round: mean confidence and accuracy of the answers that have both, the expected calibration
-- error over bins of equal width (a bin holds its right end) and over bins of equal size, and the Brier score. @reliability shows the bins.
--   $confidence          a scorer that gives a probability: P(true), a vote share (majority_share), a reward model's sigmoid
--   $outcome = "score"   the scorer that tells right from wrong
--   $bar = 1.0           an answer is right from this number on
--   $bins = 10           bins; the error depends on it, so report both
--   $experiment = null   one experiment; null: all
--   $part = "rollout"    rollout, eval, calibrate or followup/NAME
-- Source: Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599; bins of equal size: Nixon et al., arXiv 1904.01685.
WITH answers AS (
    SELECT c.experiment, c.round, c.item_id, c.value AS confidence, (o.value >= $bar::DOUBLE)::INTEGER AS is_right
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
),

binned AS (
    SELECT
        *,
        calibration_bin(confidence, $bins) AS width_bin,
        ntile($bins::BIGINT) OVER (PARTITION BY experiment, round ORDER BY confidence, item_id) AS size_bin
    FROM answers
),

totals AS (
    SELECT
        experiment,
        round,
        count(item_id) AS answers,
        fsum(confidence) / count(item_id) AS confidence,
        sum(is_right)::BIGINT / count(item_id) AS accuracy,
        fsum((confidence - is_right) ** 2) / count(item_id) AS brier
    FROM binned
    GROUP BY experiment, round
),

widths AS (
    SELECT experiment, round, width_bin, abs(sum(is_right)::BIGINT - fsum(confidence)) AS gap
    FROM binned
    GROUP BY experiment, round, width_bin
),

sizes AS (
    SELECT experiment, round, size_bin, abs(sum(is_right)::BIGINT - fsum(confidence)) AS gap
    FROM binned
    GROUP BY experiment, round, size_bin
),

errors AS (
    SELECT experiment, round, fsum(gap) AS gap
    FROM widths
    GROUP BY experiment, round
),

adaptive AS (
    SELECT experiment, round, fsum(gap) AS gap
    FROM sizes
    GROUP BY experiment, round
)

SELECT
    t.experiment,
    t.round,
    t.answers,
    t.confidence,
    t.accuracy,
    $bins::BIGINT AS bins,
    e.gap / t.answers AS ece,
    a.gap / t.answers AS adaptive_ece,
    t.brier
FROM totals AS t
INNER JOIN errors AS e ON e.experiment = t.experiment AND e.round = t.round
INNER JOIN adaptive AS a ON a.experiment = t.experiment AND a.round = t.round
ORDER BY t.experiment, t.round
