-- Share of a prompt's answers in which the scorer found no answer.
SELECT
    prompt_id,
    count(generation_id) FILTER (WHERE verdict = 'unparseable') / count(generation_id) AS value
FROM answers
GROUP BY prompt_id
