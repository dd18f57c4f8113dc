-- The best answer of each prompt against one drawn from those that score lower.
--   $scorer = "score"  the score that ranks the answers
--   $min_margin = 0.0  the drawn answer must score lower than the best by more than this
--   $first = null      draw among the first n samples of a prompt only (Tulu 3: 4); null: all
-- Source: the pair choice `max_random` of RLHFlow's Online-RLHF (Dong et al., arXiv 2405.07863), whose code takes the first or the
-- second sample instead of drawing; the binarisation of Tulu 3 (Lambert et al., arXiv 2411.15124), which may draw an answer with the
-- same rating: here it cannot. Of several best answers the earliest; answers without a score take no part, and a prompt
-- whose answers are all equally good makes no pair.
WITH given AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        sample,
        row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) AS place
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
),

known AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) AS best
    FROM given
    WHERE $first::BIGINT IS NULL OR place <= $first
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.value - l.value AS margin,
    format('{:s} {:g} against a drawn {:g}', $scorer, w.value, l.value) AS reason
FROM known AS w
INNER JOIN known AS l ON l.prompt_id = w.prompt_id
WHERE w.best = 1 AND w.value - l.value > $min_margin
QUALIFY row_number() OVER (PARTITION BY w.prompt_id ORDER BY draw($seed, l.generation_id), l.generation_id) = 1
