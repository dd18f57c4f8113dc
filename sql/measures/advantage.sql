-- Group advantage: an answer's score less the mean of its prompt, over the prompt's standard deviation. Null where it has no score; 0
-- where all scores of the prompt are equal.
--   $scorer = "score"    the score
--   $std = "population"  population or sample: divide squares by K or K - 1; none: only the mean is taken off
--   $epsilon = 0.0       added to the standard deviation
-- Source: GRPO (Shao et al., arXiv 2402.03300), which divides; "none" is Dr. GRPO (Liu et al., arXiv 2503.20783). Trainers differ in
-- the deviation that they divide by and in epsilon.
WITH given AS (
    SELECT
        g.generation_id,
        g.prompt_id,
        scored_value(s.item_id, s.value, g.generation_id, $scorer) AS score
    FROM generations AS g
    LEFT JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $scorer AND s.segment IS NULL
),

means AS (
    SELECT prompt_id, fsum(score) / count(score) AS mean, count(score) AS n, min(score) = max(score) AS is_flat
    FROM given
    WHERE score IS NOT NULL
    GROUP BY prompt_id
),

centred AS (
    SELECT given.generation_id, given.prompt_id, means.n, means.is_flat, given.score - means.mean AS above
    FROM given
    LEFT JOIN means ON means.prompt_id = given.prompt_id
),

spreads AS (
    SELECT
        prompt_id,
        CASE $std
            WHEN 'population' THEN sqrt(fsum(above * above) / max(n))
            WHEN 'sample' THEN sqrt(fsum(above * above) / nullif(max(n) - 1, 0))
            WHEN 'none' THEN 1.0::DOUBLE
            ELSE error(format('std: expected population, sample or none, found {}', $std))::DOUBLE
        END AS deviation
    FROM centred
    GROUP BY prompt_id
)

SELECT
    c.generation_id AS item_id,
    CASE
        WHEN c.above IS NULL THEN NULL
        WHEN c.is_flat THEN 0.0::DOUBLE
        WHEN $std = 'none' THEN c.above
        ELSE c.above / (s.deviation + $epsilon::DOUBLE)
    END AS value
FROM centred AS c
LEFT JOIN spreads AS s ON s.prompt_id = c.prompt_id
