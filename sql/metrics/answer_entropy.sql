-- How undecided a prompt's answers are: the entropy, in nats, of the shares of their final answers (macro final_answer); 0 where all
-- agree, null where none can be parsed. Answers that the verifiers cannot parse do not count.
WITH counted AS (
    SELECT prompt_id, final_answer(response) AS answer, count(generation_id) AS copies
    FROM answers
    WHERE coalesce(verdict, '') <> 'unparseable'
    GROUP BY prompt_id, answer
),

told AS (
    SELECT prompt_id, entropy(list(copies ORDER BY answer)) AS value
    FROM counted
    GROUP BY prompt_id
)

SELECT asked.prompt_id, told.value
FROM (SELECT prompt_id FROM answers GROUP BY prompt_id) AS asked
LEFT JOIN told ON told.prompt_id = asked.prompt_id
