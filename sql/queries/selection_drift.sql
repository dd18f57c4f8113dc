-- What the selection takes, round by round, and how that moves: the rows selected in the round itself by topic, cluster, origin
-- and all together, with their share, its change against the round before, mean score, answer tokens and characters.
--   $experiment = null  one experiment; null: all
--   $by = null          topic, cluster, origin or all; null: each of them
--   $role = "policy"    the model that the rows train
WITH topics AS (
    SELECT experiment, prompt_id, min(topic) AS topic
    FROM lake.prompts
    GROUP BY experiment, prompt_id
),

groups AS (
    SELECT experiment, round, item_id, arg_min(cluster_id, part) AS cluster_id
    FROM lake.clusters
    GROUP BY experiment, round, item_id
),

rows AS (
    SELECT
        r.experiment,
        r.round,
        r.row_id,
        coalesce(topics.topic, '(none)') AS topic,
        coalesce(r.cluster_id, own.cluster_id, asked.cluster_id)::VARCHAR AS cluster,
        r.origin,
        s.value AS score,
        g.response_tokens AS tokens,
        length(r.messages[-1].content) AS characters
    FROM lake.selected AS r
    LEFT JOIN topics ON topics.experiment = r.experiment AND topics.prompt_id = r.prompt_id
    LEFT JOIN groups AS own ON own.experiment = r.experiment AND own.round = r.round AND own.item_id = r.generation_id
    LEFT JOIN groups AS asked ON asked.experiment = r.experiment AND asked.round = r.round AND asked.item_id = r.prompt_id
    LEFT JOIN lake.generations AS g
        ON g.experiment = r.experiment AND g.round = r.round AND g.part = 'rollout' AND g.generation_id = r.generation_id
    LEFT JOIN lake.scores AS s
        ON s.experiment = r.experiment AND s.round = r.round AND s.part = 'rollout/score' AND s.item_id = r.generation_id
    WHERE r.part = $role
        AND r.source_round = r.round
        AND r.round >= 0
        AND ($experiment::VARCHAR IS NULL OR r.experiment = $experiment)
),

long AS (
    SELECT experiment, round, 'all' AS "by", '' AS value, score, tokens, characters FROM rows
    UNION ALL
    SELECT experiment, round, 'topic' AS "by", topic AS value, score, tokens, characters FROM rows
    UNION ALL
    SELECT experiment, round, 'cluster' AS "by", cluster AS value, score, tokens, characters FROM rows WHERE cluster IS NOT NULL
    UNION ALL
    SELECT experiment, round, 'origin' AS "by", origin AS value, score, tokens, characters FROM rows
),

counted AS (
    SELECT
        experiment,
        round,
        "by",
        value,
        count(*) AS selected,
        count(*) / sum(count(*)) OVER (PARTITION BY experiment, round, "by") AS share,
        fsum(score) / nullif(count(score), 0) AS mean_score,
        fsum(tokens) / nullif(count(tokens), 0) AS mean_tokens,
        fsum(characters) / count(*) AS mean_characters
    FROM long
    GROUP BY experiment, round, "by", value
),

spine AS (
    SELECT DISTINCT v.experiment, r.round, v."by", v.value
    FROM counted AS v
    INNER JOIN counted AS r ON r.experiment = v.experiment AND r."by" = v."by"
),

filled AS (
    SELECT
        spine.experiment,
        spine.round,
        spine."by",
        spine.value,
        coalesce(c.selected, 0) AS selected,
        coalesce(c.share, 0) AS share,
        coalesce(c.share, 0) - lag(coalesce(c.share, 0)) OVER before AS change,
        c.mean_score,
        c.mean_tokens,
        c.mean_characters
    FROM spine
    LEFT JOIN counted AS c
        ON c.experiment = spine.experiment AND c.round = spine.round AND c."by" = spine."by" AND c.value = spine.value
    WINDOW before AS (PARTITION BY spine.experiment, spine."by", spine.value ORDER BY spine.round)
)

SELECT *
FROM filled
WHERE $by::VARCHAR IS NULL OR "by" = $by
ORDER BY experiment, "by", value, round
