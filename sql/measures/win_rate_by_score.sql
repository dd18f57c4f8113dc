-- How often an answer beats the others of its prompt if scores are Bradley-Terry: the mean of 1 / (1 + exp(s_j - s_i)). Answers
-- without a score have none and count for nobody; null too where there is nobody to count.
--   $scorer = "score"     the scores, in nats (a reward model's)
--   $include_self = true  count the answer against itself, as 0.5: then a prompt's values sum to K / 2
-- Source: SPPO (Wu et al., arXiv 2405.00675), whose ranker gives one score for each candidate; include_self false: the reward of SPO
-- (Swamy et al., arXiv 2401.04056).
WITH given AS (
    SELECT
        g.generation_id,
        g.prompt_id,
        scored_value(s.item_id, s.value, g.generation_id, $scorer) AS score
    FROM generations AS g
    LEFT JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $scorer AND s.segment IS NULL
),

met AS (
    SELECT a.generation_id, fsum(bradley_terry(a.score, b.score)) AS won, count(b.generation_id) AS n
    FROM given AS a
    INNER JOIN given AS b ON b.prompt_id = a.prompt_id
    WHERE
        a.score IS NOT NULL
        AND b.score IS NOT NULL
        AND ($include_self::BOOLEAN OR a.generation_id <> b.generation_id)
    GROUP BY a.generation_id
)

SELECT given.generation_id AS item_id, met.won / met.n AS value
FROM given
LEFT JOIN met ON met.generation_id = given.generation_id
