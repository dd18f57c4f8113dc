-- What a picker of the name `picked` chose, in its order.
SELECT
    prompt_id,
    generation_id,
    picked::BIGINT AS rank,
    format('picked {}', picked::BIGINT) AS reason
FROM scored
WHERE picked IS NOT NULL
