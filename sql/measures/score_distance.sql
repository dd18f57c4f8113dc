-- How near the number that an answer ends with is to its prompt's reference: minus the absolute difference, 0 where they are equal.
--   $pattern = "(?i)score\\s*\\**\\s*[:=]\\s*\\**\\s*(-?\\d+(?:\\.\\d+)?)"  regular expression (RE2); the first group of its last match
--                    is the number
--   $least = null    smallest number that counts; null: any
--   $most = null     largest number that counts; null: any
-- Null where nothing matches or the number is outside, with the reason in `detail`. Prompts need a number as their reference.
-- Source: judgements against gold scores in Self-Rationalization (Trivedi et al., arXiv 2410.05495).
WITH found AS (
    SELECT
        g.generation_id,
        p.prompt_id,
        p.reference,
        try_cast(p.reference AS DOUBLE) AS gold,
        try_cast(list_last(regexp_extract_all(g.response, $pattern, 1)) AS DOUBLE) AS said
    FROM generations AS g
    INNER JOIN prompts AS p ON p.prompt_id = g.prompt_id AND p.split = 'train'
),

judged AS (
    SELECT
        *,
        said IS NOT NULL
        AND said >= coalesce($least::DOUBLE, '-infinity'::DOUBLE)
        AND said <= coalesce($most::DOUBLE, 'infinity'::DOUBLE) AS is_read
    FROM found
)

SELECT
    generation_id AS item_id,
    CASE
        WHEN gold IS NULL
            THEN error(format('prompt {:s}: the reference {:s} is no number', prompt_id, coalesce(reference, 'null')))::DOUBLE
        WHEN is_read THEN 0.0::DOUBLE - abs(said - gold)
    END AS value,
    CASE
        WHEN said IS NULL THEN 'no number is found'
        WHEN NOT is_read THEN format('{:g} is outside the scale', said)
        ELSE format('said {:g}, gold {:g}', said, gold)
    END AS detail
FROM judged
