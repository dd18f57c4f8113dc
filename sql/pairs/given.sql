-- Pairs that came with the prompts: a preference data set whose chosen and rejected answers stand in the prompts' meta, as text or as
-- lists of {role, content} (`rondo import` makes such a file). No answer of the policy is needed.
--   $chosen = "$.chosen"      JSON path in prompts.meta to the chosen answer
--   $rejected = "$.rejected"  the same of the rejected one
--   $margin = null            JSON path to a number: how much better; null: none
--   $probability = null       JSON path to a number: the soft label; null: none
--   $missing = "error"        a prompt without one of the two: error, or out: makes no pair
WITH found AS (
    SELECT
        prompt_id,
        meta,
        meta -> $chosen AS chosen,
        meta -> $rejected AS rejected
    FROM prompts
    WHERE split = 'train'
),

whole AS (
    SELECT *
    FROM found
    WHERE CASE
        WHEN chosen IS NOT NULL AND rejected IS NOT NULL THEN true
        WHEN $missing = 'out' THEN false
        WHEN $missing <> 'error' THEN error(format('missing: expected error or out, found {:s}', $missing))::BOOLEAN
        ELSE error(format('prompt {} has no pair: nothing at {:s} or {:s} in its meta', prompt_id, $chosen, $rejected))::BOOLEAN
    END
)

SELECT
    prompt_id,
    'given' AS origin,
    CASE json_type(chosen)
        WHEN 'ARRAY' THEN from_json(chosen, '[{"role": "VARCHAR", "content": "VARCHAR"}]')
        ELSE [{'role': 'assistant', 'content': chosen ->> '$'}]
    END AS chosen,
    CASE json_type(rejected)
        WHEN 'ARRAY' THEN from_json(rejected, '[{"role": "VARCHAR", "content": "VARCHAR"}]')
        ELSE [{'role': 'assistant', 'content': rejected ->> '$'}]
    END AS rejected,
    (meta ->> $margin::VARCHAR)::DOUBLE AS margin,
    (meta ->> $probability::VARCHAR)::DOUBLE AS probability,
    'given with the prompt' AS reason
FROM whole
