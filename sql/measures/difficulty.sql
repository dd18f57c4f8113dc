-- How often a prompt was solved in this round; the same number for every answer of a prompt. An answer without a score is not right.
--   $scorer = "score"  the score
--   $bar = 1.0         score from which an answer is right
--   $give = "count"    count: right answers; share: of all answers; failed: 1 - share, the prompt's difficulty
-- Source: the pass count that filters queries in Qwen2.5-Math (arXiv 2409.12122): 2 to 5 right ones of 8.
WITH given AS (
    SELECT
        g.generation_id,
        g.prompt_id,
        coalesce(scored_value(s.item_id, s.value, g.generation_id, $scorer) >= $bar::DOUBLE, false) AS is_right
    FROM generations AS g
    LEFT JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $scorer AND s.segment IS NULL
),

counted AS (
    SELECT generation_id, count(generation_id) FILTER (WHERE is_right) OVER (PARTITION BY prompt_id) AS solved, count(generation_id) OVER (PARTITION BY prompt_id) AS n
    FROM given
)

SELECT
    generation_id AS item_id,
    CASE $give
        WHEN 'count' THEN solved::DOUBLE
        WHEN 'share' THEN solved / n
        WHEN 'failed' THEN 1.0::DOUBLE - solved / n
        ELSE error(format('give: expected count, share or failed, found {}', $give))::DOUBLE
    END AS value
FROM counted
