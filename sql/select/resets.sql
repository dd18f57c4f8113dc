-- The best answer of each prompt that was reset (followup/reset.sql), its given beginning as context, and the best answer of each other
-- prompt. Train with mask: last, so that the beginning teaches nothing.
--   $followup = "reset"    the entry of `followup` that holds the answers to resets
--   $min_score = 1.0       an answer below it, the score being that of the whole text, is never kept
-- Ties go to the earlier sample. Source: Chang et al., "Dataset Reset Policy Optimization for RLHF", arXiv 2404.08495, with the best of
-- the answers in the place of PPO.
WITH again AS (
    SELECT
        g.prompt_id,
        g.generation_id,
        g.sample,
        g.response,
        g.actor,
        g.messages AS asked,
        s.value
    FROM followup.generations AS g
    INNER JOIN followup.scores AS s ON s.item_id = g.generation_id AND s.scorer = 'score'
    WHERE g.part = 'followup/' || $followup
),

answers AS (
    SELECT prompt_id, generation_id, sample, response, actor, asked, value
    FROM again
    UNION ALL
    SELECT prompt_id, generation_id, sample, response, actor, NULL AS asked, value
    FROM rated
    WHERE scorer = 'score' AND prompt_id NOT IN (SELECT prompt_id FROM again)
)

SELECT
    prompt_id,
    generation_id,
    CASE WHEN asked IS NOT NULL THEN
        list_append(
            list_transform(asked, lambda m: {'role': m.role, 'content': m.content, 'origin': 'prompt', 'weight': 0.0::DOUBLE}),
            {'role': 'assistant', 'content': substr(response, length(asked[-1].content) + 1), 'origin': actor, 'weight': 1.0::DOUBLE}
        )
    END AS messages,
    if(asked IS NULL, 'plain', 'reset') AS label,
    format('score {:g} after {} given characters', value, coalesce(length(asked[-1].content), 0)) AS reason
FROM answers
WHERE value >= $min_score
QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) = 1
