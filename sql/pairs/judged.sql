-- Every judged comparison as a pair: the answer that the judge prefers against the other, with the judge's probability as its soft label.
--   $judge                  the judge of `preferences` (a name of `compare`); where it was asked in both orders, the two together count
--   $min_probability = 0.5  the judge must be surer than this
--   $per_prompt = null      pairs of a prompt at most, drawn; null: all
-- Comparisons without a probability, and ties, make no pair.
-- Source: soft labels of pairwise judges as in RLAIF (Lee et al., arXiv 2309.00267).
SELECT
    prompt_id,
    item_id AS chosen_id,
    other_id AS rejected_id,
    probability,
    format('{:s} prefers it with {:.3f}', judge, probability) AS reason
FROM comparisons
-- 0.5 and less is a tie, or the same comparison seen from the other side
WHERE judge = $judge AND probability > greatest($min_probability::DOUBLE, 0.5)
QUALIFY $per_prompt::BIGINT IS NULL
    OR row_number() OVER (PARTITION BY prompt_id ORDER BY draw($seed, concat(item_id, '/', other_id)), item_id, other_id) <= $per_prompt
