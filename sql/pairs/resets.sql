-- The best answer of each prompt against its worst, where their scores differ, and both go on from the same beginning: that of the gold
-- answer where the prompt was reset (followup/reset.sql), else the prompt itself. The beginning is shared and trains nothing.
--   $followup = "reset"    the entry of `followup` that holds the answers to resets
--   $scorer = "score"      the score that ranks the answers, of the whole text
--   $min_margin = 0.0      the scores must differ by more than this
-- Ties go to the earlier sample; answers without a score take no part, and a prompt whose answers are all equally good makes no pair.
-- Source: Chang et al., "Dataset Reset Policy Optimization for RLHF", arXiv 2404.08495, with pairs in the place of PPO.
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
    INNER JOIN followup.scores AS s ON s.item_id = g.generation_id AND s.scorer = $scorer
    WHERE g.part = 'followup/' || $followup
),

answers AS (
    SELECT prompt_id, generation_id, sample, response, actor, asked, value, length(asked[-1].content) AS prefix
    FROM again
    UNION ALL
    SELECT prompt_id, generation_id, sample, response, actor, NULL AS asked, value, 0 AS prefix
    FROM rated
    WHERE scorer = $scorer AND prompt_id NOT IN (SELECT prompt_id FROM again)
),

ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, sample, generation_id) AS best,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value, sample, generation_id) AS worst
    FROM answers
    WHERE value IS NOT NULL
)

SELECT
    w.prompt_id,
    w.asked AS messages,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    [{'role': 'assistant', 'content': substr(w.response, w.prefix + 1), 'origin': w.actor, 'weight': 1.0::DOUBLE}] AS chosen,
    [{'role': 'assistant', 'content': substr(l.response, l.prefix + 1), 'origin': l.actor, 'weight': 1.0::DOUBLE}] AS rejected,
    w.value - l.value AS margin,
    if(w.prefix > 0, 'refined', 'generation') AS origin,
    MAP {'prefix': w.prefix::DOUBLE} AS extra,
    format('{:s} {:g} against {:g} after {} given characters', $scorer, w.value, l.value, w.prefix) AS reason
FROM ranked AS w
INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
WHERE w.best = 1 AND l.worst = 1 AND w.value - l.value > $min_margin
