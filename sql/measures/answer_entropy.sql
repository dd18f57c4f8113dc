-- How undecided a prompt's answers are: the entropy, in nats, of the shares of their final answers; the same number for every answer
-- of a prompt: 0 where all agree. Answers that the verifiers cannot parse do not count; null where none counts.
--   $normalise = false  true: divided by ln of the number of answers that count, so that 1 is the most (0 where one counts)
-- The final answer is that of the macro final_answer.
WITH counted AS (
    SELECT prompt_id, final_answer(response) AS answer, count(generation_id) AS copies
    FROM scored
    WHERE coalesce(verdict, '') <> 'unparseable'
    GROUP BY prompt_id, answer
),

told AS (
    SELECT prompt_id, entropy(list(copies ORDER BY answer)) AS nats, count(answer) AS answers, sum(copies)::BIGINT AS n
    FROM counted
    GROUP BY prompt_id
)

SELECT
    g.generation_id AS item_id,
    CASE WHEN $normalise::BOOLEAN AND told.n > 1 THEN told.nats / ln(told.n) ELSE told.nats END AS value,
    format('{} final answers of {} answers', coalesce(told.answers, 0), coalesce(told.n, 0)) AS detail
FROM generations AS g
LEFT JOIN told ON told.prompt_id = g.prompt_id
