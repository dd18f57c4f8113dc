-- How far two scorers agree on the same answers, by round: share of equal verdicts, Cohen's kappa (agreement beyond chance), and
-- the correlations of their numbers. Answers that one of them could not score are counted apart. Labels of people (`human`) are
-- a scorer too, but of an audit's sample, which favours doubtful answers: @false_negatives weighs it.
--   $experiment = null  one experiment; null: all
--   $part = "rollout"   rollout, eval, calibrate or followup/NAME
--   $bar = 1            a scorer without verdicts approves an answer from this number on
-- Source: Cohen, "A Coefficient of Agreement for Nominal Scales", 1960; ranks of ties are their mean rank (Spearman).
WITH judged AS (
    SELECT
        experiment,
        round,
        item_id,
        scorer,
        value,
        CASE WHEN verdict IS NULL THEN value >= $bar WHEN verdict IN ('right', 'wrong') THEN verdict = 'right' END AS approves
    FROM lake.scores
    WHERE
        scorer <> 'score'
        AND item_kind = 'generation'
        AND part = $part || '/' || scorer
        AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
),

both_judged AS (
    SELECT
        a.experiment,
        a.round,
        a.scorer AS first_scorer,
        b.scorer AS second_scorer,
        a.item_id,
        a.approves AS first_approves,
        b.approves AS second_approves,
        a.value AS first_value,
        b.value AS second_value,
        a.value IS NOT NULL AND b.value IS NOT NULL AS has_values
    FROM judged AS a
    INNER JOIN judged AS b ON b.experiment = a.experiment AND b.round = a.round AND b.item_id = a.item_id AND b.scorer > a.scorer
),

ranked AS (
    SELECT
        *,
        rank() OVER (PARTITION BY experiment, round, first_scorer, second_scorer, has_values ORDER BY first_value)
        + (count(*) OVER (PARTITION BY experiment, round, first_scorer, second_scorer, has_values, first_value) - 1) / 2 AS first_rank,
        rank() OVER (PARTITION BY experiment, round, first_scorer, second_scorer, has_values ORDER BY second_value)
        + (count(*) OVER (PARTITION BY experiment, round, first_scorer, second_scorer, has_values, second_value) - 1) / 2 AS second_rank
    FROM both_judged
),

counted AS (
    SELECT
        experiment,
        round,
        first_scorer,
        second_scorer,
        count(*) AS answers,
        count(*) FILTER (WHERE first_approves AND second_approves) AS both_approve,
        count(*) FILTER (WHERE NOT first_approves AND NOT second_approves) AS neither,
        count(*) FILTER (WHERE first_approves AND NOT second_approves) AS only_first,
        count(*) FILTER (WHERE second_approves AND NOT first_approves) AS only_second,
        count(*) FILTER (WHERE first_approves IS NULL OR second_approves IS NULL) AS without_score,
        pearson(
            list(first_value ORDER BY item_id) FILTER (WHERE has_values), list(second_value ORDER BY item_id) FILTER (WHERE has_values)
        ) AS pearson,
        pearson(
            list(first_rank ORDER BY item_id) FILTER (WHERE has_values), list(second_rank ORDER BY item_id) FILTER (WHERE has_values)
        ) AS spearman
    FROM ranked
    GROUP BY experiment, round, first_scorer, second_scorer
),

shared AS (
    SELECT
        *,
        answers - without_score AS compared,
        (both_approve + neither) / nullif(answers - without_score, 0) AS agreement,
        (both_approve + only_first) / nullif(answers - without_score, 0) AS first_share,
        (both_approve + only_second) / nullif(answers - without_score, 0) AS second_share
    FROM counted
)

SELECT
    experiment,
    round,
    first_scorer,
    second_scorer,
    answers,
    compared,
    both_approve,
    neither,
    only_first,
    only_second,
    without_score,
    agreement,
    -- chance: both approve, or neither, if their verdicts had nothing to do with each other
    (agreement - first_share * second_share - (1 - first_share) * (1 - second_share))
    / nullif(1 - first_share * second_share - (1 - first_share) * (1 - second_share), 0) AS kappa,
    pearson,
    spearman
FROM shared
ORDER BY experiment, round, first_scorer, second_scorer
