-- What each prompt's budget gave: trials, right answers, the target and how many right answers are missing, the largest gap first.
--   $experiment = null  one experiment; null: all
--   $round = null       one round; null: all
--   $bar = 1.0          score from which an answer is right
--   $limit = 1000       rows at most
-- The target is the plan's key `right` (of the prompt, else of all), else generate.until.right of the spec; null where there is none.
WITH asked AS (
    SELECT
        g.experiment,
        g.round,
        g.prompt_id,
        count(g.generation_id) AS trials,
        count(g.generation_id) FILTER (WHERE s.value >= $bar) AS corrects
    FROM lake.generations AS g
    LEFT JOIN lake.scores AS s
        ON s.experiment = g.experiment AND s.round = g.round AND s.part = 'rollout/score' AND s.item_id = g.generation_id
    WHERE g.part = 'rollout'
        AND ($experiment::VARCHAR IS NULL OR g.experiment = $experiment)
        AND ($round::BIGINT IS NULL OR g.round = $round)
    GROUP BY g.experiment, g.round, g.prompt_id
),

planned AS (
    SELECT experiment, round, item_id, min(value::BIGINT) AS target
    FROM lake.plan
    WHERE key = 'right'
    GROUP BY experiment, round, item_id
),

settled AS (
    SELECT experiment, round, any_value(detail ->> '$.until.right')::BIGINT AS target
    FROM lake.steps
    WHERE step = 'generations'
    GROUP BY experiment, round
)

SELECT
    asked.experiment,
    asked.round,
    asked.prompt_id,
    asked.trials,
    asked.corrects,
    coalesce(own.target, every.target, settled.target) AS target,
    greatest(0, coalesce(own.target, every.target, settled.target) - asked.corrects) AS deficit
FROM asked
LEFT JOIN planned AS own
    ON own.experiment = asked.experiment AND own.round = asked.round AND own.item_id = asked.prompt_id
LEFT JOIN planned AS every
    ON every.experiment = asked.experiment AND every.round = asked.round AND every.item_id IS NULL
LEFT JOIN settled ON settled.experiment = asked.experiment AND settled.round = asked.round
ORDER BY deficit DESC NULLS LAST, asked.experiment, asked.round, asked.prompt_id
LIMIT $limit
