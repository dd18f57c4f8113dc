-- DART-Uniform: every prompt of the round is to get the same number of right answers; for generate.plan with generate.until.
--   $right = 40  right answers a prompt (k_u)
-- Source: Tong et al., "DART-Math", arXiv 2407.13690: 40 in the paper; the notebook of its repository takes 50.
SELECT
    'right' AS key,
    prompt_id AS item_id,
    $right::BIGINT AS value,
    'the same for all' AS reason
FROM prompts
