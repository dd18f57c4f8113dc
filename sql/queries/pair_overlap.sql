-- How far two experiments pair the same, round by round: pairs of each, and their overlap (Jaccard: in both / in either) by prompt and
-- by content (prompt and the texts of both sides).
--   $left              an experiment
--   $right             another
--   $fresh = false     only pairs made in the round itself, none that `data: cumulative` carries along
--   $role = "policy"   the model that the pairs train
WITH found AS (
    SELECT
        experiment,
        round,
        prompt_id,
        md5(
            to_json([[prompt_id], list_transform(chosen, lambda m: m.content), list_transform(rejected, lambda m: m.content)])::VARCHAR
        ) AS content
    FROM lake.pairs
    WHERE experiment IN ($left, $right) AND part = $role AND (NOT $fresh::BOOLEAN OR source_round = round)
),

items AS (
    SELECT experiment, round, 'prompt' AS kind, prompt_id AS item
    FROM found
    UNION
    SELECT experiment, round, 'content' AS kind, content AS item
    FROM found
),

sides AS (
    SELECT round, kind, item, bool_or(experiment = $left) AS in_left, bool_or(experiment = $right) AS in_right
    FROM items
    GROUP BY round, kind, item
)

SELECT
    $left AS "left",
    $right AS "right",
    round,
    count(item) FILTER (WHERE kind = 'prompt' AND in_left) AS left_prompts,
    count(item) FILTER (WHERE kind = 'prompt' AND in_right) AS right_prompts,
    count(item) FILTER (WHERE kind = 'prompt' AND in_left AND in_right) / count(item) FILTER (WHERE kind = 'prompt') AS prompt_jaccard,
    count(item) FILTER (WHERE kind = 'content' AND in_left) AS left_contents,
    count(item) FILTER (WHERE kind = 'content' AND in_right) AS right_contents,
    count(item) FILTER (WHERE kind = 'content' AND in_left AND in_right) / count(item) FILTER (WHERE kind = 'content') AS content_jaccard
FROM sides
GROUP BY round
ORDER BY round
