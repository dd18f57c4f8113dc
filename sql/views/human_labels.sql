-- What people said of answers that `rondo audit` drew: a row for each label. weight: how many answers of the round it stands for
-- (1 / the chance that its stratum's draw took it); audit: the file that it was read from, rule and stratum: how it was drawn.
SELECT
    experiment,
    round,
    left(part, length(part) - length('/human')) AS answers_of,
    item_id,
    prompt_id,
    verdict,
    value,
    (detail ->> '$.weight')::DOUBLE AS weight,
    detail ->> '$.rule' AS rule,
    detail ->> '$.stratum' AS stratum,
    detail ->> '$.note' AS note,
    cache_key AS content_id,
    scorer_version AS audit
FROM scores
WHERE scorer = 'human'
