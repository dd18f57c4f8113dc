-- The forgetting measure: how far topics have fallen in the last evaluated round since they were learned, and the mean over
-- topics (negative: forgotten). A topic that still trained in the last round is left out, as nothing came after it.
--   $experiment = null   one experiment; null: all
--   $suite = "test"      gate or test
--   $metric = "pass@1"   the metric
--   $since = "trained"   compared with: trained: the round that last trained on the topic; best: the best earlier round, over
--                        all topics; base: the base
-- Source: FM = mean over tasks k < N of A(N, k) - A(k, k), where A(i, k) is the metric on task k after round i (arXiv 2507.05386).
WITH measured AS (
    SELECT
        experiment,
        topic,
        round,
        value,
        max(round) OVER (PARTITION BY experiment) AS last_round
    FROM lake.evaluations
    WHERE topic IS NOT NULL AND suite = $suite AND metric = $metric AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
),

topics AS (
    SELECT experiment, round, prompt_id, any_value(topic) AS topic
    FROM lake.prompts
    WHERE part = 'train' AND topic IS NOT NULL
    GROUP BY experiment, round, prompt_id
),

trained AS (
    SELECT r.experiment, topics.topic, max(r.round) AS round
    FROM lake.selected AS r
    INNER JOIN topics ON topics.experiment = r.experiment AND topics.round = r.source_round AND topics.prompt_id = r.prompt_id
    WHERE r.round >= 0
    GROUP BY r.experiment, topics.topic
),

compared AS (
    SELECT
        then_.experiment,
        then_.topic,
        then_.round AS then_round,
        then_.value AS then_value,
        now_.round AS now_round,
        now_.value AS now_value
    FROM measured AS then_
    INNER JOIN measured AS now_
        ON now_.experiment = then_.experiment AND now_.topic = then_.topic AND now_.round = now_.last_round
    LEFT JOIN trained ON trained.experiment = then_.experiment AND trained.topic = then_.topic
    WHERE then_.round < then_.last_round
        AND CASE $since
            WHEN 'trained' THEN then_.round = trained.round
            WHEN 'best' THEN true
            WHEN 'base' THEN then_.round = -1
            ELSE error(format('since: expected trained, best or base, found {}', $since))::BOOLEAN
        END
    QUALIFY row_number() OVER (PARTITION BY then_.experiment, then_.topic ORDER BY then_.value DESC, then_.round) = 1
)

SELECT
    experiment,
    topic,
    then_round,
    then_value,
    now_round,
    now_value,
    now_value - then_value AS change,
    fsum(now_value - then_value) OVER (PARTITION BY experiment) / count(topic) OVER (PARTITION BY experiment) AS forgetting
FROM compared
ORDER BY experiment, topic
