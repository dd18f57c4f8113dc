-- Whether a judge favours answers that its own model wrote, over all rounds: its mean for them against its mean for answers of
-- others, also on the prompts that both answered (where a better or easier prompt cannot be the reason); of a pairwise judge,
-- how often its own answer wins against another's. Own answers may be better in truth: compare with a verifier's numbers.
--   $experiment = null  one experiment; null: all
--   $part = "rollout"   rollout, eval, calibrate or followup/NAME (comparisons are of rollouts)
-- Own means: the model that wrote the answer is one of those that the judge's step ran with (`models` in the step's detail).
WITH judges AS (
    SELECT experiment, round, "table" AS room, unnest(parts) AS part, (detail -> '$.models')::VARCHAR[] AS models
    FROM lake.steps
    WHERE json_array_length(detail, '$.models') > 0 AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
),

judged AS (
    SELECT
        s.experiment,
        s.scorer,
        s.round,
        s.item_id,
        s.prompt_id,
        s.value,
        list_contains(j.models, g.model) AS own
    FROM judges AS j
    INNER JOIN lake.scores AS s ON s.experiment = j.experiment AND s.round = j.round AND s.part = j.part
    INNER JOIN lake.generations AS g
        ON g.experiment = s.experiment AND g.round = s.round AND g.part = $part AND g.generation_id = s.item_id
    WHERE j.room = 'scores' AND s.part = $part || '/' || s.scorer AND s.value IS NOT NULL
),

by_prompt AS (
    SELECT
        experiment,
        scorer,
        prompt_id,
        fsum(value ORDER BY round, item_id) FILTER (WHERE own) / nullif(count(*) FILTER (WHERE own), 0) AS own_mean,
        fsum(value ORDER BY round, item_id) FILTER (WHERE NOT own) / nullif(count(*) FILTER (WHERE NOT own), 0) AS other_mean
    FROM judged
    GROUP BY experiment, scorer, prompt_id
),

same_prompts AS (
    SELECT
        experiment,
        scorer,
        count(*) AS prompts,
        fsum(own_mean - other_mean ORDER BY prompt_id) / count(*) AS gap_on_same_prompts
    FROM by_prompt
    WHERE own_mean IS NOT NULL AND other_mean IS NOT NULL
    GROUP BY experiment, scorer
),

overall AS (
    SELECT
        experiment,
        scorer,
        count(*) FILTER (WHERE own) AS own_answers,
        count(*) FILTER (WHERE NOT own) AS other_answers,
        fsum(value ORDER BY round, item_id) FILTER (WHERE own) / nullif(count(*) FILTER (WHERE own), 0) AS own_mean,
        fsum(value ORDER BY round, item_id) FILTER (WHERE NOT own) / nullif(count(*) FILTER (WHERE NOT own), 0) AS other_mean
    FROM judged
    GROUP BY experiment, scorer
),

contests AS (
    SELECT
        p.experiment,
        p.judge,
        p.probability,
        list_contains(j.models, l.model) AS left_own
    FROM judges AS j
    INNER JOIN lake.preferences AS p ON p.experiment = j.experiment AND p.round = j.round AND p.part = j.part
    INNER JOIN lake.generations AS l
        ON l.experiment = p.experiment AND l.round = p.round AND l.part = $part AND l.generation_id = p.left_id
    INNER JOIN lake.generations AS r
        ON r.experiment = p.experiment AND r.round = p.round AND r.part = $part AND r.generation_id = p.right_id
    WHERE
        j.room = 'preferences'
        AND p."order" IN ('forward', 'swapped')
        AND p.probability <> 0.5
        AND list_contains(j.models, l.model) <> list_contains(j.models, r.model)
)

SELECT
    o.experiment,
    o.scorer,
    o.own_answers,
    o.other_answers,
    o.own_mean,
    o.other_mean,
    o.own_mean - o.other_mean AS gap,
    coalesce(s.prompts, 0) AS prompts_of_both,
    s.gap_on_same_prompts,
    NULL::BIGINT AS contests,
    NULL::DOUBLE AS own_wins
FROM overall AS o
LEFT JOIN same_prompts AS s ON s.experiment = o.experiment AND s.scorer = o.scorer
UNION ALL
SELECT
    experiment,
    judge,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    count(*),
    count(*) FILTER (WHERE (probability > 0.5) = left_own) / count(*)
FROM contests
GROUP BY experiment, judge
ORDER BY experiment, scorer, contests NULLS FIRST
