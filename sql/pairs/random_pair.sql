-- Two answers of each prompt, whatever their scores; the better one is chosen.
--   $scorer = "score"  the score that orders the two
--   $min_margin = 0.0  the scores must differ by more than this, else the prompt makes no pair
--   $drawn = true      draw the two; false: the first two samples
-- Source: the pair choice `random` of RLHFlow's Online-RLHF (arXiv 2405.07863), which is the first two samples; two samples whose
-- rewards differ by more than 0.1 are the online DPO of Tajwar et al., arXiv 2404.14367. Answers without a score are not drawn, and
-- a prompt with fewer than two others, or with two that are equally good, makes no pair.
WITH two AS (
    SELECT prompt_id, generation_id, value, sample
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
    QUALIFY row_number() OVER (
        PARTITION BY prompt_id
        ORDER BY if($drawn::BOOLEAN, draw($seed, generation_id), sample::DOUBLE), generation_id
    ) <= 2
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.value - l.value AS margin,
    format('{:s} {:g} against {:g}, of two', $scorer, w.value, l.value) AS reason
FROM two AS w
INNER JOIN two AS l ON l.prompt_id = w.prompt_id
WHERE w.value - l.value > $min_margin
