-- Pairs of a prompt's better and worse half that an estimator agrees with, drawn by how uncertain it is: easy ones (certain), hard ones
-- (uncertain) and those with the largest margins.
--   $judge                    the estimator: a judge of `preferences` with `passes` (the comparer preference_model)
--   $scorer = "score"         the score that ranks the answers
--   $ends = null              only the n best and the n worst answers of a prompt, all ordered pairs of them (the paper's code: 2); null:
--                             better half against worse half
--   $share = 1.0              share of the round's pairs that the rest looks at, drawn (the paper's code: 0.25)
--   $easy = 0.5               share of the agreed pairs drawn without replacement by weight 1 - B, B the uncertainty in nats
--   $hard = 0.0               the same by weight B (uncertainty 0 comes last)
--   $largest = 0.0            share of the agreed pairs with the largest margins
--   $one_a_prompt = false     keep one pair of each prompt: easy before largest before hard, then by draw
-- A pair that is drawn twice counts once. The estimator agrees where it finds the chosen answer better, shown first (else as it was
-- shown): by majority of its passes where it says how they voted, else by the probability. probability: 1 - B / ln 2, at least 0.5, the
-- soft label for objectives that take one; extra: uncertainty, and sampling: the pair's share of the weights it was drawn by (easy before
-- hard). Pairs that it did not see or gave no uncertainty are left out, as are equal scores and answers without one.
-- Source: Wang et al., "Uncertainty-enhanced Preference Optimization" (UPO), arXiv 2409.11212; its mix of a round is easy 0.5, and of
-- these 30% more by margin and 20% of the hard ones.
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
        w.prompt_id,
        w.generation_id AS chosen_id,
        l.generation_id AS rejected_id,
        w.value - l.value AS margin,
        concat(w.generation_id, '/', l.generation_id) AS pair
    FROM ranked AS w
    INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
    WHERE w.value > l.value AND CASE
        WHEN $ends::BIGINT IS NULL THEN w.best <= w.half AND l.best > l.n - l.half
        ELSE least(w.best, w.worst) <= $ends AND least(l.best, l.worst) <= $ends
    END
    QUALIFY row_number() OVER (ORDER BY draw($seed, 'share/' || pair), pair)
        <= greatest(1, floor($share::DOUBLE * count(pair) OVER ()))
),

estimates AS (
    SELECT
        c.*,
        p.uncertainty,
        if(p.left_id = c.chosen_id, p.probability, 1.0::DOUBLE - p.probability) AS agreed,
        -- of the passes, those for the answer that was shown first
        CASE WHEN json_valid(p.detail) THEN (p.detail ->> '$.votes_first')::DOUBLE / p.votes END AS first_votes,
        (p."order" = 'forward') = (p.left_id = c.chosen_id) AS chosen_first
    FROM candidates AS c
    INNER JOIN preferences AS p
        ON p.prompt_id = c.prompt_id
            AND least(p.left_id, p.right_id) = least(c.chosen_id, c.rejected_id)
            AND greatest(p.left_id, p.right_id) = greatest(c.chosen_id, c.rejected_id)
    WHERE p.judge = $judge AND p."order" IN ('forward', 'swapped') AND p.uncertainty IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY c.pair ORDER BY if(chosen_first, 0, 1), p."order") = 1
),

kept AS (
    SELECT
        *,
        count(pair) OVER () AS n,
        greatest(0.0::DOUBLE, 1.0::DOUBLE - uncertainty) AS certain,
        greatest(0.0::DOUBLE, uncertainty) AS uncertain
    FROM estimates
    WHERE coalesce(if(chosen_first, first_votes, 1 - first_votes), agreed) > 0.5
),

placed AS (
    SELECT
        *,
        row_number() OVER (
            ORDER BY sampling_key($seed, 'easy/' || pair, certain), pair
        ) <= floor($easy::DOUBLE * n) AS is_easy,
        row_number() OVER (
            ORDER BY sampling_key($seed, 'hard/' || pair, uncertain), pair
        ) <= floor($hard::DOUBLE * n) AS is_hard,
        row_number() OVER (ORDER BY margin DESC, pair) <= floor($largest::DOUBLE * n) AS is_largest,
        certain / nullif(fsum(certain) OVER (), 0) AS easy_weight,
        uncertain / nullif(fsum(uncertain) OVER (), 0) AS hard_weight
    FROM kept
)

SELECT
    prompt_id,
    chosen_id,
    rejected_id,
    margin,
    greatest(0.5::DOUBLE, 1.0::DOUBLE - uncertain / ln(2.0::DOUBLE)) AS probability,
    MAP {'uncertainty': uncertain, 'sampling': coalesce(if(is_hard AND NOT is_easy, hard_weight, easy_weight), 0.0)} AS extra,
    concat_ws(', ', if(is_easy, 'easy', NULL), if(is_largest, 'large margin', NULL), if(is_hard, 'hard', NULL)) AS reason
FROM placed
WHERE is_easy OR is_hard OR is_largest
QUALIFY NOT $one_a_prompt::BOOLEAN
    OR row_number() OVER (
        PARTITION BY prompt_id
        ORDER BY if(is_easy, 0, if(is_largest, 1, 2)), draw($seed, 'one/' || pair), pair
    ) = 1
