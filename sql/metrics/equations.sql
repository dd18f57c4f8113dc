-- Diversity of reasoning: distinct equations / equations in a prompt's answers; null where they have none.
-- An equation stands between $ and $, << and >>, or \[ and \], and is compared as text.
-- Source: exploration metric of Zeng et al., "B-STaR", arXiv 2412.17256, with the patterns of its code.
WITH found AS (
    SELECT
        prompt_id,
        unnest(regexp_extract_all(response, '(?s)\$[^$]+\$|<<.*?>>|\\\[.*?\\\]')) AS equation
    FROM answers
),

counted AS (
    SELECT prompt_id, count(DISTINCT equation) / count(equation) AS value
    FROM found
    GROUP BY prompt_id
)

SELECT asked.prompt_id, counted.value
FROM (SELECT prompt_id FROM answers GROUP BY prompt_id) AS asked
LEFT JOIN counted ON counted.prompt_id = asked.prompt_id
