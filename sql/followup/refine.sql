-- Asks the model to look at its own drafts again: at the first answers of each prompt that it sometimes solves, where they are
-- wrong. What is right already needs no second generation.
--   $lo = 0.0          pass rate between $lo and $hi: a prompt takes part
--   $hi = 1.0
--   $bounds = "(]"     ends of that interval: (), (], [) or []
--   $drafts = 1        first answers of a prompt that are drafts
--   $min_score = 1.0   score from which an answer is right
--   $ask = "Check your answer. If it is right, repeat it unchanged; if not, give a corrected answer."  what follows the draft
-- Source: self-refinement of ToolACE-R (arXiv 2504.01400); selection: select/toolace_r.sql, with the same parameters.
WITH drafts AS (
    SELECT
        prompt_id,
        generation_id,
        response,
        score,
        row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) AS place,
        count(generation_id) FILTER (WHERE score >= $min_score) OVER (PARTITION BY prompt_id)
        / count(generation_id) OVER (PARTITION BY prompt_id) AS rate
    FROM scored
)

SELECT
    p.prompt_id,
    d.generation_id AS parent_id,
    list_concat(p.messages, [{'role': 'assistant', 'content': d.response}, {'role': 'user', 'content': $ask}]) AS messages
FROM drafts AS d
INNER JOIN prompts AS p ON p.prompt_id = d.prompt_id
WHERE d.place <= $drafts AND NOT coalesce(d.score >= $min_score, false) AND in_interval(d.rate, $lo, $hi, $bounds)
