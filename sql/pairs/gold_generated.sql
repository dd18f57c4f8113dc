-- The gold answer of each prompt against the policy's own answers (self-play fine-tuning): no score is needed.
--   $gold = null           JSON path in prompts.meta to the gold answer, such as "$.solution"; null: prompts.reference
--   $gold_form = "{gold}"  text around the gold answer
--   $per_prompt = null     answers of a prompt at most, the earliest samples; null: all
--   $keep_equal = true     also answers whose text is the gold answer: such a pair has the loss log 2 and no gradient, and says how near
--                          the policy is; false: leave them out (a prompt that is solved by heart then makes no pair)
-- A prompt without a gold answer is an error. Source: Chen et al., "Self-Play Fine-Tuning Converts Weak Language Models to Strong
-- Language Models" (SPIN), arXiv 2401.01335, with one answer a prompt; from the second round on it also trains on the pairs of the
-- round before (data: last-1).
WITH golds AS (
    SELECT prompt_id, gold_answer(prompt_id, meta, reference, $gold, $gold_form) AS gold
    FROM prompts
    WHERE split = 'train'
)

SELECT
    g.prompt_id,
    [{'role': 'assistant', 'content': golds.gold, 'origin': 'gold', 'weight': 1.0::DOUBLE}] AS chosen,
    g.generation_id AS rejected_id,
    'gold' AS origin,
    'gold against generated' AS reason
FROM generations AS g
INNER JOIN golds ON golds.prompt_id = g.prompt_id
WHERE $keep_equal::BOOLEAN OR trim(g.response) <> trim(golds.gold)
QUALIFY $per_prompt::BIGINT IS NULL
    OR row_number() OVER (PARTITION BY g.prompt_id ORDER BY g.sample, g.generation_id) <= $per_prompt
