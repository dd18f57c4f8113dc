-- The best share of all answers of the round, whatever their prompts; ties to the smaller prompt, then the earlier sample.
--   $keep = 0.125     share of the scored answers that is kept, rounded down, at least one answer
--   $min_score = 0.0  an answer below it is never kept, even within the share
-- Source: Dong et al., "RAFT", arXiv 2304.06767, collection strategy `top` (keep the answers with rank <= keep x count);
-- their setting samples one answer a prompt. Hard prompts may lose all answers: see `raft` for a choice within prompts.
WITH ranked AS (
    SELECT
        prompt_id,
        generation_id,
        score,
        row_number() OVER (ORDER BY score DESC, prompt_id, sample, generation_id) AS rank,
        count(score) OVER () AS answers
    FROM scored
    WHERE score IS NOT NULL
)

SELECT
    prompt_id,
    generation_id,
    rank,
    format('score {:g}, number {} of {}', score, rank, answers) AS reason
FROM ranked
WHERE rank <= greatest(1, floor($keep::DOUBLE * answers)) AND score >= $min_score
