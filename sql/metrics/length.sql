-- Mean length of a prompt's answers in tokens of the policy; null where a backend does not count tokens.
SELECT
    prompt_id,
    fsum(response_tokens) / count(response_tokens) AS value
FROM answers
GROUP BY prompt_id
