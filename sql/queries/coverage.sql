-- What trains, topic by topic and round by round: the topic's share of the prompts, of the right answers (score >= 1) and of the
-- rows selected in that round itself. `trains`: whether a row of the topic was selected in any round.
--   $experiment = null  one experiment; null: all
--   $never = false      only topics that never train
WITH asked AS (
    SELECT experiment, round, prompt_id, coalesce(topic, '(none)') AS topic
    FROM lake.prompts
    WHERE part = 'train' AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
),

topics AS (
    SELECT experiment, prompt_id, min(topic) AS topic
    FROM asked
    GROUP BY experiment, prompt_id
),

prompts AS (
    SELECT experiment, round, topic, count(prompt_id) AS prompts
    FROM asked
    GROUP BY experiment, round, topic
),

answers AS (
    SELECT
        h.experiment,
        h.round,
        asked.topic,
        sum(h.answers)::BIGINT AS answers,
        sum(h.right_answers)::BIGINT AS right_answers,
        count(h.prompt_id) FILTER (WHERE h.right_answers > 0) AS solved
    FROM lake.prompt_history AS h
    INNER JOIN asked ON asked.experiment = h.experiment AND asked.round = h.round AND asked.prompt_id = h.prompt_id
    WHERE h.part = 'rollout'
    GROUP BY h.experiment, h.round, asked.topic
),

kept AS (
    SELECT r.experiment, r.round, topics.topic, count(r.row_id) AS selected
    FROM lake.selected AS r
    INNER JOIN topics ON topics.experiment = r.experiment AND topics.prompt_id = r.prompt_id
    WHERE r.part = 'policy' AND r.source_round = r.round AND r.round >= 0
    GROUP BY r.experiment, r.round, topics.topic
),

cells AS (
    SELECT experiment, round, topic FROM prompts
    UNION
    SELECT experiment, round, topic FROM kept
),

joined AS (
    SELECT
        cells.experiment,
        cells.round,
        cells.topic,
        coalesce(prompts.prompts, 0) AS prompts,
        coalesce(answers.answers, 0) AS answers,
        coalesce(answers.right_answers, 0) AS right_answers,
        coalesce(answers.solved, 0) AS solved,
        coalesce(kept.selected, 0) AS selected
    FROM cells
    LEFT JOIN prompts ON prompts.experiment = cells.experiment AND prompts.round = cells.round AND prompts.topic = cells.topic
    LEFT JOIN answers ON answers.experiment = cells.experiment AND answers.round = cells.round AND answers.topic = cells.topic
    LEFT JOIN kept ON kept.experiment = cells.experiment AND kept.round = cells.round AND kept.topic = cells.topic
),

shares AS (
    SELECT
        experiment,
        round,
        topic,
        prompts,
        prompts / nullif(sum(prompts) OVER whole, 0) AS prompt_share,
        solved,
        right_answers / nullif(answers, 0) AS pass_rate,
        right_answers / nullif(sum(right_answers) OVER whole, 0) AS right_share,
        selected,
        selected / nullif(sum(selected) OVER whole, 0) AS selected_share,
        sum(selected) OVER (PARTITION BY experiment, topic) > 0 AS trains
    FROM joined
    WINDOW whole AS (PARTITION BY experiment, round)
)

SELECT *
FROM shares
WHERE NOT $never OR NOT trains
ORDER BY experiment, round, topic
