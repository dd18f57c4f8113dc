-- Which answers a comparer is asked about: those of a prompt's better half, each against those of its worse half.
--   $scorer = "score"  the score that ranks the answers
--   $ends = null       instead: only the n best and the n worst answers of a prompt, all ordered pairs of them
--   $share = 1.0       share of the round's pairs that is asked about, drawn (at least one)
-- The left answer is the better one. Equal scores make no pair, answers without one take no part, and the middle one of an odd number
-- is in neither half. pairs/by_uncertainty.sql takes the same pairs with the same $scorer and $ends; give it $share 1.0.
-- Source: the pairs that UPO's estimator looks at (Wang et al., arXiv 2409.11212): halves in the paper, $ends 2 in its code, $share 0.25.
WITH ranked AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) AS best,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value, sample, generation_id) AS worst,
        count(generation_id) OVER (PARTITION BY prompt_id) // 2 AS half,
        count(generation_id) OVER (PARTITION BY prompt_id) AS n
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
),

candidates AS (
    SELECT
        w.generation_id AS left_id,
        l.generation_id AS right_id,
        draw($seed, concat(w.generation_id, '/', l.generation_id)) AS lot
    FROM ranked AS w
    INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
    WHERE w.value > l.value AND CASE
        WHEN $ends::BIGINT IS NULL THEN w.best <= w.half AND l.best > l.n - l.half
        ELSE least(w.best, w.worst) <= $ends AND least(l.best, l.worst) <= $ends
    END
)

SELECT left_id, right_id
FROM candidates
QUALIFY row_number() OVER (ORDER BY lot, left_id, right_id) <= greatest(1, floor($share::DOUBLE * count(left_id) OVER ()))
