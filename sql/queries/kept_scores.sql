-- Mean score of all rollouts against that of the rows kept, by round: how much the selection gains and whether that shrinks.
--   $experiment = null  one experiment; null: all
-- Source: the pair of rewards that RAFT reports each iteration (arXiv 2304.06767).
WITH all_answers AS (
    SELECT experiment, round, count(value) AS answers, fsum(value) / count(value) AS mean_score
    FROM lake.scores
    WHERE part = 'rollout/score' AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
    GROUP BY experiment, round
),

kept AS (
    SELECT experiment, round, count(score) AS kept, fsum(score) / count(score) AS kept_score
    FROM lake.selected_rows
    WHERE source_round = round
    GROUP BY experiment, round
)

SELECT all_answers.experiment, all_answers.round, all_answers.answers, all_answers.mean_score, kept.kept, kept.kept_score
FROM all_answers
LEFT JOIN kept ON kept.experiment = all_answers.experiment AND kept.round = all_answers.round
ORDER BY all_answers.experiment, all_answers.round
