-- The best answers of each prompt by one scorer or measure of choice, right or not; equal numbers go to the earlier sample.
--   $by                 the scorer that ranks (a column of `scored`)
--   $top = 1            answers kept for each prompt
--   $min_value = null   an answer with a lower number is never kept; null: all may be
-- Source: best-of-n by a reward model, as in RAFT (Dong et al., arXiv 2304.06767). Answers without a number take no part.
SELECT
    prompt_id,
    generation_id,
    row_number() OVER best AS rank,
    format('{:s} {:g}', $by, value) AS reason
FROM rated
WHERE scorer = $by AND value IS NOT NULL AND value >= coalesce($min_value::DOUBLE, '-infinity'::DOUBLE)
WINDOW best AS (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id)
QUALIFY rank <= $top
