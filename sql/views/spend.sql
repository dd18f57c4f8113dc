-- What was spent, a row for each experiment, round, part, actor and model that answered (kind generation), and for each scorer or
-- judge that scored or compared (kind judge; its name is the actor). prompts, answers: what the part holds, or what was judged;
-- copied: how many of these were taken over from another round or experiment, or were known: they cost nothing here.
-- prompt_tokens count once an answer; seconds: a share of its batch's wall time, or of a server's request, so that requests side
-- by side add up; cost: where the spec has a price, in its currency (in the first row of a step that has several models);
-- requests, retries: of a server. Null: nobody counted.
WITH facts AS (
    SELECT experiment, round, step, "table", parts, reused_from, detail::JSON AS detail
    FROM steps
),

answered AS (
    SELECT
        experiment,
        round,
        part,
        CASE
            WHEN part = 'rollout' THEN 'generations'
            WHEN part = 'train' THEN 'checkpoint'
            WHEN starts_with(part, 'train/') THEN 'checkpoint_' || substr(part, length('train/') + 1)
            ELSE regexp_replace(part, '^followup/', '') || '_generations'
        END AS step,
        actor,
        model,
        count(DISTINCT prompt_id) AS prompts,
        count(generation_id) AS answers,
        sum(prompt_tokens)::BIGINT AS prompt_tokens,
        sum(response_tokens)::BIGINT AS response_tokens,
        fsum(seconds ORDER BY generation_id) AS seconds
    FROM generations
    GROUP BY experiment, round, part, actor, model
),

billed AS (
    SELECT
        a.experiment,
        a.round,
        a.part,
        'generation' AS kind,
        a.actor,
        a.model,
        a.prompts,
        a.answers,
        CASE WHEN f.reused_from IS NULL THEN 0 ELSE a.answers END AS copied,
        CASE WHEN f.reused_from IS NULL THEN a.prompt_tokens ELSE 0 END AS prompt_tokens,
        CASE WHEN f.reused_from IS NULL THEN a.response_tokens ELSE 0 END AS response_tokens,
        CASE WHEN f.reused_from IS NULL THEN a.seconds ELSE 0.0::DOUBLE END AS seconds,
        -- with several actors each has its own figures
        CASE WHEN json_exists(f.detail, '$.actors') THEN json_extract(f.detail, '$.actors."' || a.actor || '"') ELSE f.detail END AS bill,
        f.reused_from,
        row_number() OVER (
            PARTITION BY a.experiment, a.round, a.part, CASE WHEN json_exists(f.detail, '$.actors') THEN a.actor END
            ORDER BY a.actor, a.model
        ) AS line
    FROM answered AS a
    LEFT JOIN facts AS f ON f.experiment = a.experiment AND f.round = a.round AND f.step = a.step
),

work AS (
    SELECT experiment, round, part, 'scores' AS "table", scorer, prompt_id, item_id AS item, seconds, prompt_tokens, response_tokens
    FROM scores
    UNION ALL
    SELECT experiment, round, part, 'preferences', judge, prompt_id, left_id || right_id || "order", seconds, prompt_tokens, response_tokens
    FROM preferences
    WHERE "order" <> 'both'
),

judged AS (
    SELECT
        experiment,
        round,
        part,
        "table",
        scorer,
        count(DISTINCT prompt_id) AS prompts,
        count(item) AS answers,
        count(item) FILTER (WHERE coalesce(seconds, 0) = 0 AND coalesce(prompt_tokens, 0) = 0) AS copied,
        sum(prompt_tokens)::BIGINT AS prompt_tokens,
        sum(response_tokens)::BIGINT AS response_tokens,
        fsum(seconds ORDER BY item) AS seconds
    FROM work
    GROUP BY experiment, round, part, "table", scorer
    HAVING count(seconds) + count(prompt_tokens) > 0
),

costed AS (
    SELECT
        j.experiment,
        j.round,
        j.part,
        'judge' AS kind,
        j.scorer AS actor,
        NULL AS model,
        j.prompts,
        j.answers,
        j.copied,
        j.prompt_tokens,
        j.response_tokens,
        j.seconds,
        f.detail AS bill,
        f.reused_from,
        row_number() OVER (PARTITION BY j.experiment, j.round, coalesce(f.step, j.part) ORDER BY j.part, j.scorer) AS line
    FROM judged AS j
    LEFT JOIN facts AS f
        ON f.experiment = j.experiment AND f.round = j.round AND f."table" = j."table" AND list_contains(f.parts, j.part)
),

whole AS (
    SELECT * FROM billed
    UNION ALL
    SELECT * FROM costed
)

SELECT
    experiment,
    round,
    part,
    kind,
    actor,
    model,
    prompts,
    answers,
    copied,
    prompt_tokens,
    response_tokens,
    seconds,
    CASE WHEN seconds > 0 THEN response_tokens / seconds END AS tokens_per_second,
    CASE WHEN line = 1 THEN (bill ->> '$.cost')::DOUBLE * CASE WHEN reused_from IS NULL THEN 1.0 ELSE 0.0 END END AS cost,
    CASE WHEN line = 1 THEN (bill ->> '$.requests')::BIGINT * CASE WHEN reused_from IS NULL THEN 1 ELSE 0 END END AS requests,
    CASE WHEN line = 1 THEN (bill ->> '$.retries')::BIGINT * CASE WHEN reused_from IS NULL THEN 1 ELSE 0 END END AS retries,
    reused_from
FROM whole
