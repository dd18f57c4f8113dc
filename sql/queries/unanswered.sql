-- Prompts of a round without an answer of an actor that answered others, and why: `no answer` (its files, or the prompt itself, have
-- none: params.missing was skip), `not asked` (its share, the ceiling or a plan left it out), or null where that is not known: the
-- ledger names the first thousand prompts of an actor.
--   $experiment = null  one experiment; null: all
--   $round = null       one round; null: all
--   $limit = 1000       rows at most
WITH wanted AS (
    SELECT DISTINCT experiment, round, detail
    FROM lake.steps
    WHERE step = 'generations'
        AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
        AND ($round::BIGINT IS NULL OR round = $round)
),

-- the ledger tells of one actor at $.unanswered, of several at $.actors.<name>.unanswered; each holds {actor: {count, prompts}}
told AS (
    SELECT experiment, round, unnest(list_prepend(detail -> '$.unanswered', detail -> '$.actors.*.unanswered')) AS lost
    FROM wanted
),

named AS (
    SELECT experiment, round, actor, lost -> ('$."' || actor || '"') AS lost
    FROM (SELECT experiment, round, lost, unnest(json_keys(lost)) AS actor FROM told)
),

lost_prompts AS (
    SELECT
        experiment,
        round,
        actor,
        (lost ->> '$.count')::BIGINT AS count,
        from_json(lost -> '$.prompts', '["VARCHAR"]') AS prompts
    FROM named
),

answers AS (
    SELECT DISTINCT g.experiment, g.round, g.actor, g.prompt_id
    FROM lake.generations AS g
    INNER JOIN wanted ON wanted.experiment = g.experiment AND wanted.round = g.round
    WHERE g.part = 'rollout'
),

actors AS (
    SELECT experiment, round, actor FROM answers
    UNION
    SELECT experiment, round, actor FROM lost_prompts
)

SELECT
    actors.experiment,
    actors.round,
    actors.actor,
    p.prompt_id,
    CASE
        WHEN list_contains(lost_prompts.prompts, p.prompt_id) THEN 'no answer'
        WHEN coalesce(lost_prompts.count = len(lost_prompts.prompts), true) THEN 'not asked'
    END AS why,
    p.messages[-1].content AS question
FROM actors
INNER JOIN lake.prompts AS p ON p.experiment = actors.experiment AND p.round = actors.round AND p.part = 'train'
LEFT JOIN lost_prompts
    ON lost_prompts.experiment = actors.experiment AND lost_prompts.round = actors.round AND lost_prompts.actor = actors.actor
ANTI JOIN answers
    ON answers.experiment = actors.experiment
        AND answers.round = actors.round
        AND answers.actor = actors.actor
        AND answers.prompt_id = p.prompt_id
ORDER BY actors.experiment, actors.round, actors.actor, p.prompt_id
LIMIT $limit
