-- The chance that an answer is the one that people keep of its prompt's answers, if they choose by Bradley-Terry among all of them:
-- exp(score / temperature), as a share of the prompt. An answer without a score is never kept and has 0; null where none has a score.
--   $scorer = "score"   the score, in nats at temperature 1
--   $temperature = 1.0  a low one keeps the best answer
-- Source: the curation of the self-consuming loop (Ferbach et al., arXiv 2407.09499): K-choice Bradley-Terry (Plackett-Luce).
WITH given AS (
    SELECT
        g.generation_id,
        g.prompt_id,
        scored_value(s.item_id, s.value, g.generation_id, $scorer) AS score
    FROM generations AS g
    LEFT JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $scorer AND s.segment IS NULL
),

weighed AS (
    SELECT
        generation_id,
        prompt_id,
        exp((score - max(score) OVER (PARTITION BY prompt_id)) / $temperature::DOUBLE) AS weight
    FROM given
),

totals AS (
    SELECT prompt_id, fsum(weight) AS total
    FROM weighed
    GROUP BY prompt_id
)

SELECT
    weighed.generation_id AS item_id,
    CASE WHEN totals.total > 0 THEN coalesce(weighed.weight, 0.0::DOUBLE) / totals.total END AS value
FROM weighed
LEFT JOIN totals ON totals.prompt_id = weighed.prompt_id
