-- The right answers of each prompt that a second scorer, such as a reward model, ranks highest; equal numbers go to the earlier sample.
--   $by                 the scorer that ranks (a column of `scored`)
--   $top = 4            answers kept for each prompt; the same text counts once
--   $scorer = "score"   the scorer that says what is right
--   $min_score = 1.0    score from which an answer is right
--   $elected = null     a measure that is 1 for the answers that the prompt's answers elect (measures/majority.sql): where a prompt
--                       has no reference, these count as right; null: such a prompt gives no row
-- Source: rejection sampling of Qwen2.5-Math (Yang et al., arXiv 2409.12122), where prompts with a reference keep right paths and
-- others those that end in the weighted majority's answer. Answers without a number of $by take no part.
WITH ranks AS (
    SELECT prompt_id, generation_id, sample, response, value
    FROM rated
    WHERE scorer = $by AND value IS NOT NULL
),

rights AS (
    SELECT generation_id, scorer
    FROM rated
    WHERE scorer = $scorer AND value >= $min_score
    UNION ALL
    SELECT generation_id, scorer
    FROM rated
    WHERE scorer = $elected::VARCHAR AND value = 1
),

known AS (
    SELECT
        r.*,
        p.reference IS NULL AND $elected::VARCHAR IS NOT NULL AS is_elected
    FROM ranks AS r
    INNER JOIN prompts AS p ON p.prompt_id = r.prompt_id AND p.split = 'train'
    INNER JOIN rights ON rights.generation_id = r.generation_id
    WHERE rights.scorer = if(p.reference IS NULL AND $elected::VARCHAR IS NOT NULL, $elected::VARCHAR, $scorer)
),

different AS (
    SELECT *
    FROM known
    QUALIFY row_number() OVER (PARTITION BY prompt_id, response ORDER BY value DESC, sample, generation_id) = 1
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER best AS rank,
    format('{:s}, {:s} {:g}', if(is_elected, 'elected', 'right'), $by, value) AS reason
FROM different
WINDOW best AS (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id)
QUALIFY rank <= $top
