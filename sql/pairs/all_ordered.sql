-- All pairs of a prompt's answers of which one scores higher; a ranking of K answers gives up to K (K - 1) / 2 pairs.
--   $scorer = "score"   the score that orders the answers
--   $min_margin = 0.0   the scores must differ by more than this
--   $ends = null        only the n best and the n worst answers of a prompt take part; null: all
--   $per_prompt = null  pairs of a prompt at most, drawn; null: all
--   $share = 1.0        share of the round's pairs that is drawn (at least one)
-- Source: the ranking loss of InstructGPT (Ouyang et al., arXiv 2203.02155) trains on all of them; $ends 2 and $share 0.25 are the
-- candidates in the code of UPO (Wang et al., arXiv 2409.11212). Ties at the ends go to the earlier sample. Equal scores make no
-- pair, and answers without a score take no part.
WITH ranked AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) AS best,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value, sample, generation_id) AS worst
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
),

known AS (
    SELECT *
    FROM ranked
    WHERE $ends::BIGINT IS NULL OR least(best, worst) <= $ends
),

drawn AS (
    SELECT
        w.prompt_id,
        w.generation_id AS chosen_id,
        l.generation_id AS rejected_id,
        w.value - l.value AS margin,
        format('{:s} {:g} against {:g}', $scorer, w.value, l.value) AS reason,
        draw($seed, concat(w.generation_id, '/', l.generation_id)) AS lot
    FROM known AS w
    INNER JOIN known AS l ON l.prompt_id = w.prompt_id
    WHERE w.value - l.value > $min_margin
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
