-- Mean score of a prompt's answers; an answer without a score counts as 0.
SELECT
    prompt_id,
    fsum(coalesce(score, 0)) / count(generation_id) AS value
FROM answers
GROUP BY prompt_id
