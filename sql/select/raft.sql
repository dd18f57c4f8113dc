-- The best answers of each prompt: those with the highest score, ties to the earlier sample.
--   $top = 1          answers kept for each prompt
--   $min_score = 1.0  an answer below it is never kept
-- Source: Dong et al., "RAFT: Reward rAnked FineTuning", arXiv 2304.06767, collection strategy `local`.
-- Only narrow columns are ranked. A window was measured against max_by with n (does not spill) and sorted lists
-- (twice the time): see benchmarks/selection.py.
SELECT
    prompt_id,
    generation_id,
    row_number() OVER best AS rank,
    format('score {:g}', score) AS reason
FROM scored
WHERE score >= $min_score
WINDOW best AS (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id)
QUALIFY rank <= $top
