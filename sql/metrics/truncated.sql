-- Share of a prompt's answers that were cut off at max_tokens.
SELECT
    prompt_id,
    count(generation_id) FILTER (WHERE finish_reason = 'length') / count(generation_id) AS value
FROM answers
GROUP BY prompt_id
