-- Why a prompt was or was not selected: everything the lake knows of it, in the order in which it happened. Its split, the rule
-- that dropped it, and for each round that drew it: plan, cluster, answers with verdict, numbers of scorers and pickers, the rows
-- that were selected (or that none was) and how often they were trained on. A prompt that no round has drawn is not in the lake;
-- a dropped one is there without its text: give its id or its file and line.
--   $prompt             id, the start of one, or a piece of the text (or, for a dropped prompt, of its file and line)
--   $experiment = null  one experiment; null: all
--   $prompts = 3        prompts at most, where a piece of text fits several
WITH wanted AS (
    SELECT experiment, prompt_id
    FROM lake.prompts
    WHERE ($experiment::VARCHAR IS NULL OR experiment = $experiment)
        AND (
            starts_with(prompt_id, $prompt::VARCHAR)
            OR list_contains(list_transform(messages, lambda m: contains(lower(m.content), lower($prompt::VARCHAR))), true)
        )
    UNION
    SELECT experiment, prompt_id
    FROM lake.prompts_dropped
    WHERE ($experiment::VARCHAR IS NULL OR experiment = $experiment)
        AND (starts_with(prompt_id, $prompt::VARCHAR) OR contains(source, $prompt::VARCHAR))
),

found AS (
    SELECT experiment, prompt_id
    FROM wanted
    QUALIFY dense_rank() OVER (ORDER BY prompt_id) <= $prompts
),

items AS (
    SELECT g.experiment, g.round, g.part, g.prompt_id, g.generation_id, g.sample, g.response
    FROM lake.generations AS g
    INNER JOIN found ON found.experiment = g.experiment AND found.prompt_id = g.prompt_id
),

drawn AS (
    SELECT p.*
    FROM lake.prompts AS p
    INNER JOIN found ON found.experiment = p.experiment AND found.prompt_id = p.prompt_id
),

numbers AS (
    SELECT s.*
    FROM lake.scores AS s
    INNER JOIN found ON found.experiment = s.experiment AND found.prompt_id = s.prompt_id
),

chosen AS (
    SELECT r.*
    FROM lake.selected AS r
    INNER JOIN found ON found.experiment = r.experiment AND found.prompt_id = r.prompt_id
    WHERE r.round >= 0
),

events AS (
    SELECT
        experiment,
        prompt_id,
        round,
        1 AS place,
        CASE part WHEN 'train' THEN 'drawn' ELSE 'held out' END AS what,
        NULL::VARCHAR AS item,
        NULL::DOUBLE AS value,
        concat_ws('; ', CASE WHEN part <> 'train' THEN part || ' split: never trains' END, topic, messages[-1].content) AS told
    FROM drawn
    UNION ALL
    SELECT d.experiment, d.prompt_id, d.round, 0, 'dropped', d.twin_id, d.value, concat_ws('; ', d.rule, d.suite, d.reason, d.source)
    FROM lake.prompts_dropped AS d
    INNER JOIN found ON found.experiment = d.experiment AND found.prompt_id = d.prompt_id
    QUALIFY row_number() OVER (PARTITION BY d.experiment, d.prompt_id, d.rule ORDER BY d.round DESC) = 1
    UNION ALL
    SELECT plan.experiment, found.prompt_id, plan.round, 2, 'plan ' || plan.part, plan.key, NULL, concat_ws('; ', plan.value, plan.reason)
    FROM lake.plan AS plan
    INNER JOIN found ON found.experiment = plan.experiment AND found.prompt_id = plan.item_id
    UNION ALL
    SELECT c.experiment, c.prompt_id, c.round, 3, 'cluster ' || c.part, c.cluster_id::VARCHAR, c.distance, stats.label
    FROM (
        SELECT c.experiment, c.round, c.part, c.cluster_id, c.distance, found.prompt_id
        FROM lake.clusters AS c
        INNER JOIN found ON found.experiment = c.experiment AND found.prompt_id = c.item_id
    ) AS c
    LEFT JOIN lake.cluster_stats AS stats
        ON stats.experiment = c.experiment AND stats.round = c.round AND stats.part = c.part AND stats.cluster_id = c.cluster_id
    UNION ALL
    SELECT
        items.experiment,
        items.prompt_id,
        items.round,
        4,
        CASE items.part WHEN 'rollout' THEN 'answer' ELSE 'answer (' || items.part || ')' END,
        items.generation_id,
        s.value,
        concat_ws('; ', s.verdict, items.response)
    FROM items
    LEFT JOIN numbers AS s
        ON s.experiment = items.experiment
            AND s.round = items.round
            AND s.part = items.part || '/score'
            AND s.item_id = items.generation_id
    UNION ALL
    SELECT experiment, prompt_id, round, 5, 'number ' || scorer, item_id, value, concat_ws('; ', item_kind, verdict, detail)
    FROM numbers
    WHERE scorer <> 'score' AND part NOT LIKE 'eval%'
    UNION ALL
    SELECT
        experiment,
        prompt_id,
        round,
        6,
        'selected',
        row_id,
        weight,
        concat_ws(
            '; ',
            origin || ' of round ' || source_round,
            'answer ' || generation_id,
            'rank ' || rank,
            'order ' || "order",
            'label ' || label,
            reason
        )
    FROM chosen
    UNION ALL
    SELECT
        drawn.experiment,
        drawn.prompt_id,
        drawn.round,
        6,
        'not selected',
        NULL,
        max(s.value),
        concat(count(s.item_id), ' scored answers, ', count(s.item_id) FILTER (WHERE s.value >= 1), ' right, best score ', max(s.value))
    FROM drawn
    LEFT JOIN numbers AS s
        ON s.experiment = drawn.experiment
            AND s.round = drawn.round
            AND s.part = 'rollout/score'
            AND s.prompt_id = drawn.prompt_id
    WHERE drawn.part = 'train'
        AND NOT EXISTS (
            SELECT 1
            FROM chosen
            WHERE chosen.experiment = drawn.experiment AND chosen.round = drawn.round AND chosen.prompt_id = drawn.prompt_id
        )
        AND EXISTS (SELECT 1 FROM lake.selected AS r WHERE r.experiment = drawn.experiment AND r.round = drawn.round)
    GROUP BY drawn.experiment, drawn.prompt_id, drawn.round
    UNION ALL
    SELECT t.experiment, chosen.prompt_id, t.round, 7, 'trained ' || t.part, t.row_id, count(t.position), 'times in checkpoint ' || t.digest
    FROM lake.trained_rows AS t
    INNER JOIN chosen
        ON chosen.experiment = t.experiment AND chosen.round = t.round AND chosen.part = t.part AND chosen.row_id = t.row_id
    GROUP BY t.experiment, chosen.prompt_id, t.round, t.part, t.row_id, t.digest
)

SELECT experiment, prompt_id, round, what, item, value, told
FROM events
ORDER BY experiment, prompt_id, round, place, what, item NULLS FIRST, told
