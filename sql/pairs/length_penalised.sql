-- The best answer of each prompt against its worst by score less a price for length.
--   $scorer = "score"       the score
--   $weight = 0.001         points that a character (or token) costs
--   $unit = "characters"    characters or tokens
--   $ordered = "penalised"  which of the two is chosen: penalised: the one with the higher penalised score; raw: the one with the higher
--                           score, which undoes the penalty where they disagree
--   $min_margin = 0.0       the numbers that order the two must differ by more than this
-- Source: the pair choice `max_min_p` of RLHFlow's Online-RLHF (arXiv 2405.07863), which picks by the penalised score and then orders
-- by the raw one: $ordered "raw". Ties go to the earlier sample; answers without a score (or, for tokens, a count) take no part.
WITH known AS (
    SELECT
        prompt_id,
        generation_id,
        sample,
        value,
        length_penalised(
            value,
            CASE $unit
                WHEN 'characters' THEN length(response)
                WHEN 'tokens' THEN response_tokens
                ELSE error(format('unit: expected characters or tokens, found {:s}', $unit))::BIGINT
            END,
            $weight
        ) AS penalised
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
),

ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY prompt_id ORDER BY penalised DESC, sample, generation_id) AS best,
        row_number() OVER (PARTITION BY prompt_id ORDER BY penalised, sample, generation_id) AS worst,
        CASE $ordered
            WHEN 'penalised' THEN penalised
            WHEN 'raw' THEN value
            ELSE error(format('ordered: expected penalised or raw, found {:s}', $ordered))::DOUBLE
        END AS rank_value
    FROM known
    WHERE penalised IS NOT NULL
),

picked AS (
    SELECT *
    FROM ranked
    WHERE best = 1 OR worst = 1
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.rank_value - l.rank_value AS margin,
    format('penalised {:g} against {:g}, {:s} {:g} against {:g}', w.penalised, l.penalised, $scorer, w.value, l.value) AS reason
FROM picked AS w
INNER JOIN picked AS l ON l.prompt_id = w.prompt_id
WHERE w.rank_value - l.rank_value > $min_margin
