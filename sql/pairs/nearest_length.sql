-- Each right answer against the wrong one of the prompt whose length is nearest, so that length does not tell the two apart.
--   $scorer = "score"     the score that says what is right
--   $min_score = 1.0      score from which an answer is right
--   $unit = "characters"  characters or tokens
--   $per_prompt = 1       pairs of a prompt at most, those with the smallest difference first; each right answer gives one at most
-- Of wrong answers that are equally near the earliest sample; a wrong answer may stand in several pairs. Answers without a score (and
-- for tokens without a count) take no part; a prompt whose answers are all right or all wrong makes no pair.
WITH known AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        sample,
        value >= $min_score AS is_right,
        CASE $unit
            WHEN 'characters' THEN length(response)
            WHEN 'tokens' THEN response_tokens
            ELSE error(format('unit: expected characters or tokens, found {:s}', $unit))::BIGINT
        END AS size
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
),

nearest AS (
    SELECT
        w.prompt_id,
        w.generation_id AS chosen_id,
        l.generation_id AS rejected_id,
        w.value - l.value AS margin,
        abs(w.size - l.size) AS apart,
        w.sample,
        format('right with {} {:s}, wrong with {}', w.size, $unit, l.size) AS reason
    FROM known AS w
    INNER JOIN known AS l ON l.prompt_id = w.prompt_id
    WHERE w.is_right AND NOT l.is_right AND w.size IS NOT NULL AND l.size IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY w.generation_id ORDER BY abs(w.size - l.size), l.sample, l.generation_id) = 1
)

SELECT prompt_id, chosen_id, rejected_id, margin, reason
FROM nearest
QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY apart, sample, chosen_id) <= $per_prompt
