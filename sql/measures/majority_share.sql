-- Self-consistency: the share of a prompt's answers that end in the same final answer as this one, itself included. An answer that
-- the verifiers cannot parse does not vote and has 0; where nobody votes, null. detail: the final answer.
--   $weight = null    a scorer whose numbers are the votes' weights, from 0 up, null is 0; null: every vote counts 1
--   $squash = "none"  sigmoid: weights are 1 / (1 + exp(-score)), for rewards that may be negative; none: they are the scores
-- Source: Wang et al., "Self-Consistency Improves Chain of Thought Reasoning", arXiv 2203.11171; weighted by a reward model:
-- Qwen2.5-Math (arXiv 2409.12122), which does not say how rewards become weights. The final answer is that of the macro final_answer.
WITH ballots AS (
    SELECT
        g.generation_id,
        g.prompt_id,
        g.sample,
        coalesce(g.verdict, '') <> 'unparseable' AS votes,
        final_answer(g.response) AS answer,
        CASE
            WHEN $weight::VARCHAR IS NULL THEN 1.0::DOUBLE
            ELSE vote_weight(scored_value(s.item_id, s.value, g.generation_id, $weight::VARCHAR), $squash, g.generation_id)
        END AS weight
    FROM scored AS g
    LEFT JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $weight::VARCHAR AND s.segment IS NULL
),

counted AS (
    SELECT prompt_id, answer, fsum(weight) AS weight
    FROM ballots
    WHERE votes
    GROUP BY prompt_id, answer
),

totals AS (
    SELECT prompt_id, fsum(weight) AS weight
    FROM counted
    GROUP BY prompt_id
)

SELECT
    b.generation_id AS item_id,
    CASE
        WHEN coalesce(totals.weight, 0) = 0 THEN NULL
        WHEN b.votes THEN counted.weight / totals.weight
        ELSE 0.0::DOUBLE
    END AS value,
    b.answer AS detail
FROM ballots AS b
LEFT JOIN totals ON totals.prompt_id = b.prompt_id
LEFT JOIN counted ON counted.prompt_id = b.prompt_id AND counted.answer = b.answer
