-- Share of a prompt's answers that differ in text: 1 when no answer repeats another, 1/n when all n are the same.
SELECT
    prompt_id,
    count(DISTINCT content_id) / count(generation_id) AS value
FROM answers
GROUP BY prompt_id
