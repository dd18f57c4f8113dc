-- Weights of groups for prompts.mix by how fast the policy learns them: a share $uniform equally to all groups, the rest in
-- proportion to the absolute learning progress |accuracy now - accuracy before|, over the two last rounds that had the group.
--   $by = "topic"     groups: topic, task, or a column of the files (in prompts.meta), as in prompts.mix.by
--   $uniform = 0.2    share that is spread equally; all of it where nothing has changed
-- Accuracy is the mean score of the rollouts. A group that was in fewer than two rounds counts with the mean progress of the
-- others. Without history there are no rows, and prompts.mix takes all groups equally.
-- Source: the discrete form of ALP-GMM (Portelas et al., arXiv 1910.07224; code: flowersteam/teachDeepRL).
WITH grouped AS (
    SELECT DISTINCT
        prompt_id,
        round,
        coalesce(CASE $by WHEN 'topic' THEN topic WHEN 'task' THEN task ELSE meta ->> $by::VARCHAR END, 'null') AS item
    FROM history.prompts
    WHERE split = 'train' AND round >= 0
),

accuracies AS (
    SELECT
        g.item,
        s.round,
        fsum(s.score) / count(s.score) AS accuracy
    FROM history.scored AS s
    INNER JOIN grouped AS g ON g.prompt_id = s.prompt_id AND g.round = s.round
    WHERE s.score IS NOT NULL
    GROUP BY g.item, s.round
),

progress AS (
    SELECT
        item,
        abs(accuracy - lag(accuracy) OVER by_round) AS alp
    FROM accuracies
    WINDOW by_round AS (PARTITION BY item ORDER BY round)
    QUALIFY row_number() OVER (PARTITION BY item ORDER BY round DESC) = 1
),

filled AS (
    SELECT
        item,
        alp,
        coalesce(alp, (SELECT fsum(p.alp) / count(p.alp) FROM progress AS p), 0.0) AS counted
    FROM progress
),

weights AS (
    SELECT
        list(item ORDER BY item) AS items,
        list(alp ORDER BY item) AS alps,
        list_transform(
            shares(list(counted ORDER BY item)),
            lambda s: $uniform::DOUBLE / count(item) + (1.0 - $uniform::DOUBLE) * s
        ) AS weights
    FROM filled
)

SELECT
    'weight' AS key,
    unnest(items) AS item_id,
    unnest(weights) AS value,
    unnest(list_transform(alps, lambda a: coalesce(format('learning progress {:.4f}', a), 'in fewer than two rounds so far'))) AS reason
FROM weights
ORDER BY item_id
