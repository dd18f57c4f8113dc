-- How far two experiments select the same, round by round: rows of each, and their overlap (Jaccard: in both / in either) by
-- prompt and by content (prompt and answer text). A row counts in every round that it trains in.
--   $left              an experiment
--   $right             another
--   $fresh = false     only rows selected in the round itself, none that `data: cumulative` carries along
--   $role = "policy"   the model that the rows train
WITH chosen AS (
    SELECT experiment, round, prompt_id, md5(concat(prompt_id, '/', messages[-1].content)) AS content
    FROM lake.selected
    WHERE experiment IN ($left, $right) AND part = $role AND round >= 0 AND (NOT $fresh OR source_round = round)
),

sides AS (
    SELECT round, prompt_id, content, true AS in_left, false AS in_right
    FROM chosen
    WHERE experiment = $left
    UNION ALL
    SELECT round, prompt_id, content, false AS in_left, true AS in_right
    FROM chosen
    WHERE experiment = $right
),

prompts AS (
    SELECT round, prompt_id, bool_or(in_left) AS in_left, bool_or(in_right) AS in_right
    FROM sides
    GROUP BY round, prompt_id
),

contents AS (
    SELECT round, content, bool_or(in_left) AS in_left, bool_or(in_right) AS in_right
    FROM sides
    GROUP BY round, content
),

by_prompt AS (
    SELECT
        round,
        count(*) FILTER (WHERE in_left) AS left_prompts,
        count(*) FILTER (WHERE in_right) AS right_prompts,
        count(*) FILTER (WHERE in_left AND in_right) AS both_prompts,
        count(*) FILTER (WHERE in_left AND in_right) / count(*) AS prompt_jaccard
    FROM prompts
    GROUP BY round
),

by_content AS (
    SELECT
        round,
        count(*) FILTER (WHERE in_left) AS left_contents,
        count(*) FILTER (WHERE in_right) AS right_contents,
        count(*) FILTER (WHERE in_left AND in_right) AS both_contents,
        count(*) FILTER (WHERE in_left AND in_right) / count(*) AS content_jaccard
    FROM contents
    GROUP BY round
)

SELECT
    $left AS "left",
    $right AS "right",
    p.round,
    p.left_prompts,
    p.right_prompts,
    p.both_prompts,
    p.prompt_jaccard,
    c.left_contents,
    c.right_contents,
    c.both_contents,
    c.content_jaccard
FROM by_prompt AS p
INNER JOIN by_content AS c ON c.round = p.round
ORDER BY p.round
