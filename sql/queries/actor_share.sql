-- Whose answers train: each actor's share of a round's fresh rows, beside its share of the round's answers.
--   $experiment = null   one experiment; null: all
-- A selection among several sources that ends with one of them shows here (GRAPE, arXiv 2502.04194).
WITH answers AS (
    SELECT experiment, round, actor, count(1) AS answers
    FROM lake.generations
    WHERE part = 'rollout' AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
    GROUP BY experiment, round, actor
),

chosen AS (
    SELECT s.experiment, s.round, s.part AS role, g.actor, count(1) AS rows
    FROM lake.selected AS s
    INNER JOIN lake.generations AS g
        ON s.experiment = g.experiment AND s.round = g.round AND s.generation_id = g.generation_id AND g.part = 'rollout'
    WHERE s.source_round = s.round
    GROUP BY s.experiment, s.round, s.part, g.actor
),

roles AS (SELECT DISTINCT experiment, round, role FROM chosen)

SELECT
    answers.experiment,
    answers.round,
    roles.role,
    answers.actor,
    answers.answers,
    coalesce(chosen.rows, 0) AS selected,
    answers.answers / sum(answers.answers) OVER round_role AS share_of_answers,
    coalesce(chosen.rows, 0) / sum(coalesce(chosen.rows, 0)) OVER round_role AS share_of_selected
FROM answers
INNER JOIN roles ON answers.experiment = roles.experiment AND answers.round = roles.round
LEFT JOIN chosen
    ON
        roles.experiment = chosen.experiment
        AND roles.round = chosen.round
        AND roles.role = chosen.role
        AND answers.actor = chosen.actor
WINDOW round_role AS (PARTITION BY answers.experiment, answers.round, roles.role)
ORDER BY answers.experiment, answers.round, roles.role, answers.actor
