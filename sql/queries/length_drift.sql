-- How long answers are, round by round: mean, median and 95th percentile in tokens, the mean as a multiple of the first round's, the
-- share that was cut off, the correlation of a score with length over all answers (of the numbers, and of their ranks), and in how
-- many of the round's pairs the chosen answer has more characters. @length_bias tells scorers apart and looks within prompts.
--   $experiment = null   one experiment; null: all
--   $part = "rollout"    rollout, eval, calibrate or followup/NAME
--   $scorer = "score"    the score
-- Source: the length indicators of reward hacking in Singhal et al., "A Long Way to Go", arXiv 2310.03716.
WITH answers AS (
    SELECT
        g.experiment,
        g.round,
        g.generation_id,
        g.response_tokens::DOUBLE AS size,
        g.finish_reason,
        s.value AS score
    FROM lake.generations AS g
    LEFT JOIN lake.scores AS s
        ON s.experiment = g.experiment
        AND s.round = g.round
        AND s.part = g.part || '/' || $scorer
        AND s.item_id = g.generation_id
        AND s.segment IS NULL
    WHERE g.part = $part AND ($experiment::VARCHAR IS NULL OR g.experiment = $experiment)
),

ranked AS (
    SELECT
        *,
        rank() OVER (PARTITION BY experiment, round ORDER BY size)
        + (count(generation_id) OVER (PARTITION BY experiment, round, size) - 1) / 2.0::DOUBLE AS size_rank,
        rank() OVER (PARTITION BY experiment, round ORDER BY score)
        + (count(generation_id) OVER (PARTITION BY experiment, round, score) - 1) / 2.0::DOUBLE AS score_rank
    FROM answers
    WHERE size IS NOT NULL AND score IS NOT NULL
),

centred AS (
    SELECT
        experiment,
        round,
        size - avg_size AS x,
        score - avg_score AS y,
        size_rank - middle AS u,
        score_rank - middle AS v
    FROM (
        SELECT
            *,
            fsum(size) OVER whole / count(generation_id) OVER whole AS avg_size,
            fsum(score) OVER whole / count(generation_id) OVER whole AS avg_score,
            (count(generation_id) OVER whole + 1) / 2.0::DOUBLE AS middle
        FROM ranked
        WINDOW whole AS (PARTITION BY experiment, round)
    ) AS averaged
),

correlated AS (
    SELECT
        experiment,
        round,
        fsum(x * y) / nullif(sqrt(fsum(x * x) * fsum(y * y)), 0) AS pearson,
        fsum(u * v) / nullif(sqrt(fsum(u * u) * fsum(v * v)), 0) AS spearman
    FROM centred
    GROUP BY experiment, round
),

sized AS (
    SELECT
        experiment,
        round,
        count(generation_id) AS answers,
        fsum(size) / nullif(count(size), 0) AS mean_tokens,
        median(size) AS median_tokens,
        quantile_cont(size, 0.95) AS p95_tokens,
        count(generation_id) FILTER (WHERE finish_reason = 'length') / count(generation_id) AS truncated
    FROM answers
    GROUP BY experiment, round
),

chosen AS (
    SELECT
        experiment,
        round,
        count(row_id) FILTER (WHERE length(chosen[-1].content) > length(rejected[-1].content)) / count(row_id) AS chosen_longer
    FROM lake.pairs
    WHERE source_round = round
    GROUP BY experiment, round
)

SELECT
    s.experiment,
    s.round,
    s.answers,
    s.mean_tokens,
    s.mean_tokens / nullif(first_value(s.mean_tokens) OVER (PARTITION BY s.experiment ORDER BY s.round), 0) AS ratio,
    s.median_tokens,
    s.p95_tokens,
    s.truncated,
    c.pearson,
    c.spearman,
    p.chosen_longer
FROM sized AS s
LEFT JOIN correlated AS c ON c.experiment = s.experiment AND c.round = s.round
LEFT JOIN chosen AS p ON p.experiment = s.experiment AND p.round = s.round
ORDER BY s.experiment, s.round
