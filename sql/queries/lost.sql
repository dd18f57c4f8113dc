-- Prompts that were lost: solved (an answer with score >= 1) in an earlier round, not solved in the last round that asked them.
--   $experiment = null  one experiment; null: all
--   $part = "eval"      eval for held-out prompts, rollout for training prompts that came up again
--   $limit = 100        rows at most
WITH asked AS (
    SELECT
        experiment,
        prompt_id,
        max(round) AS last_round,
        max(round) FILTER (WHERE right_answers > 0) AS solved_round,
        arg_max(right_answers, round) AS right_now,
        max(pass_rate) AS best_pass_rate
    FROM lake.prompt_history
    WHERE part = $part AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
    GROUP BY experiment, prompt_id
),

texts AS (
    SELECT experiment, prompt_id, any_value(topic) AS topic, any_value(messages[-1].content) AS question
    FROM lake.prompts
    GROUP BY experiment, prompt_id
)

SELECT asked.experiment, asked.prompt_id, texts.topic, asked.solved_round, asked.last_round, asked.best_pass_rate, texts.question
FROM asked
LEFT JOIN texts ON texts.experiment = asked.experiment AND texts.prompt_id = asked.prompt_id
WHERE asked.right_now = 0 AND asked.solved_round IS NOT NULL
ORDER BY asked.best_pass_rate DESC, asked.experiment, asked.prompt_id
LIMIT $limit
