-- An answer of a prompt's better half against one of its worse half: 9 of the 15 pairs of six answers.
--   $scorer = "score"   the score that ranks the answers
--   $min_margin = 0.0   the scores must differ by more than this
--   $per_prompt = null  pairs of a prompt at most, drawn; null: all
--   $share = 1.0        share of the round's pairs that is drawn (at least one)
-- Source: the pairs of UPO (Wang et al., arXiv 2409.11212); $share 0.25 is the part that its estimator looks at. The middle one of an
-- odd number of answers is in neither half. Ties go to the earlier sample, two answers with the same score make no pair, and
-- answers without a score take no part.
WITH ranked AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) AS place,
        count(generation_id) OVER (PARTITION BY prompt_id) // 2 AS half,
        count(generation_id) OVER (PARTITION BY prompt_id) AS n
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
),

drawn AS (
    SELECT
        w.prompt_id,
        w.generation_id AS chosen_id,
        l.generation_id AS rejected_id,
        w.value - l.value AS margin,
        format('{:s} {:g} (upper half) against {:g} (lower half)', $scorer, w.value, l.value) AS reason,
        draw($seed, concat(w.generation_id, '/', l.generation_id)) AS lot
    FROM ranked AS w
    INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
    WHERE w.place <= w.half AND l.place > l.n - l.half AND w.value - l.value > $min_margin
),

capped AS (
    SELECT *
    FROM drawn
    QUALIFY $per_prompt::BIGINT IS NULL
        OR row_number() OVER (PARTITION BY prompt_id ORDER BY lot, chosen_id, rejected_id) <= $per_prompt
)

SELECT prompt_id, chosen_id, rejected_id, margin, reason
FROM capped
QUALIFY row_number() OVER (ORDER BY lot, chosen_id, rejected_id) <= greatest(1, floor($share::DOUBLE * count(chosen_id) OVER ()))
