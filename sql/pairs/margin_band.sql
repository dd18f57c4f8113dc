-- Pairs whose scores differ by neither too little nor too much, and of these the round's largest margins.
--   $scorer = "score"   the score that orders the answers
--   $min_margin = 0.0   the scores must differ by more than this
--   $max_margin = null  and by no more than this; null: no bound
--   $per_prompt = 1     pairs of a prompt at most, those with the largest margin in the band first (ties: the earlier samples)
--   $fraction = 1.0     share of the round's pairs that is kept, those with the largest margin (at least one)
-- Source: small margins are mostly noise of the scorer, large ones are easy: "largest margin" of UPO (Wang et al., arXiv 2409.11212)
-- keeps $fraction 0.3. Answers without a score take no part; a prompt without a pair in the band makes none.
WITH known AS (
    SELECT prompt_id, generation_id, value, sample
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
),

banded AS (
    SELECT
        w.prompt_id,
        w.generation_id AS chosen_id,
        l.generation_id AS rejected_id,
        w.value - l.value AS margin,
        format('{:s} {:g} against {:g}', $scorer, w.value, l.value) AS reason
    FROM known AS w
    INNER JOIN known AS l ON l.prompt_id = w.prompt_id
    WHERE w.value - l.value > $min_margin AND ($max_margin::DOUBLE IS NULL OR w.value - l.value <= $max_margin)
    QUALIFY row_number() OVER (
        PARTITION BY w.prompt_id
        ORDER BY w.value - l.value DESC, w.sample, l.sample, w.generation_id, l.generation_id
    ) <= $per_prompt
)

SELECT *
FROM banded
QUALIFY row_number() OVER (ORDER BY margin DESC, prompt_id, chosen_id, rejected_id)
    <= greatest(1, floor($fraction::DOUBLE * count(chosen_id) OVER ()))
