-- Whether an answer ends in the final answer that most of its prompt's answers end in: 1 or 0. Equal votes: what the earliest sample
-- says. An answer that the verifiers cannot parse does not vote and has 0; where nobody votes, null. detail: the elected answer, a
-- pseudo reference where a prompt has none.
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
    SELECT prompt_id, answer, fsum(weight) AS weight, min({'sample': sample, 'id': generation_id}) AS earliest
    FROM ballots
    WHERE votes
    GROUP BY prompt_id, answer
),

elected AS (
    SELECT prompt_id, answer, weight
    FROM counted
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY weight DESC, earliest, answer) = 1
)

SELECT
    b.generation_id AS item_id,
    CASE WHEN elected.weight > 0 THEN (b.votes AND b.answer = elected.answer)::INTEGER END AS value,
    CASE WHEN elected.weight > 0 THEN elected.answer END AS detail
FROM ballots AS b
LEFT JOIN elected ON elected.prompt_id = b.prompt_id
