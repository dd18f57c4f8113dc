-- How long an answer is, alone or beside its siblings. Null where its length is not known, and where there is nothing to compare with.
--   $give = "z"        z: (length - mean of the prompt) / its standard deviation, 0 where all are equally long; ratio: length / mean;
--                      longer: 1 where it is longer than the median of its siblings, itself left out, else 0; length: as it is
--   $unit = "tokens"   tokens (of the policy; a backend may not count them), words or characters
--   $std = "population"  population or sample: divide squares by K or K - 1
WITH sized AS (
    SELECT
        generation_id,
        prompt_id,
        CASE $unit
            WHEN 'tokens' THEN response_tokens
            WHEN 'words' THEN len(split_words(response))
            WHEN 'characters' THEN length(response)
            ELSE error(format('unit: expected tokens, words or characters, found {}', $unit))::BIGINT
        END::DOUBLE AS size
    FROM generations
),

means AS (
    SELECT prompt_id, fsum(size) / nullif(count(size), 0) AS mean, count(size) AS n, list(size ORDER BY size) FILTER (WHERE size IS NOT NULL) AS sizes
    FROM sized
    GROUP BY prompt_id
),

spreads AS (
    SELECT
        *,
        CASE $std
            WHEN 'population' THEN sqrt(list_aggregate(list_transform(sizes, lambda x: (x - mean) ** 2), 'fsum') / n)
            WHEN 'sample' THEN sqrt(list_aggregate(list_transform(sizes, lambda x: (x - mean) ** 2), 'fsum') / nullif(n - 1, 0))
            ELSE error(format('std: expected population or sample, found {}', $std))::DOUBLE
        END AS deviation
    FROM means
),

others AS (
    SELECT
        s.generation_id,
        s.size,
        m.mean,
        m.deviation,
        m.n - 1 AS n,
        -- the sorted siblings without one number of this size
        if(
            $give = 'longer',
            list_concat(
                m.sizes[1:list_position(m.sizes, s.size) - 1], m.sizes[list_position(m.sizes, s.size) + 1:]
            ),
            []
        ) AS siblings
    FROM sized AS s
    INNER JOIN spreads AS m ON m.prompt_id = s.prompt_id
)

SELECT
    generation_id AS item_id,
    CASE
        WHEN size IS NULL THEN NULL
        WHEN $give = 'length' THEN size
        WHEN $give = 'z' THEN if(deviation = 0, 0.0::DOUBLE, (size - mean) / deviation)
        WHEN $give = 'ratio' THEN size / nullif(mean, 0)
        WHEN $give <> 'longer' THEN error(format('give: expected z, ratio, longer or length, found {}', $give))::DOUBLE
        WHEN n > 0 THEN (2 * size > siblings[(n + 1) // 2] + siblings[n // 2 + 1])::INTEGER
    END AS value
FROM others
