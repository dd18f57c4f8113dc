-- Prompts that no policy ever solved: answered in some round, right (score >= 1) in none; the most tried first.
--   $experiment = null  one experiment; null: all
--   $part = "rollout"   rollout for training prompts, eval for held-out ones
--   $limit = 100        rows at most
WITH tried AS (
    SELECT
        experiment,
        prompt_id,
        count(round) AS rounds,
        sum(answers)::BIGINT AS answers,
        max(best_score) AS best_score
    FROM lake.prompt_history
    WHERE part = $part AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
    GROUP BY experiment, prompt_id
    HAVING sum(right_answers) = 0
),

texts AS (
    SELECT
        experiment,
        prompt_id,
        any_value(topic) AS topic,
        any_value(reference) AS reference,
        any_value(messages[-1].content) AS question
    FROM lake.prompts
    GROUP BY experiment, prompt_id
)

SELECT tried.experiment, tried.prompt_id, texts.topic, tried.rounds, tried.answers, tried.best_score, texts.reference, texts.question
FROM tried
LEFT JOIN texts ON texts.experiment = tried.experiment AND texts.prompt_id = tried.prompt_id
ORDER BY tried.answers DESC, tried.experiment, tried.prompt_id
LIMIT $limit
