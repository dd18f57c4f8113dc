-- Resets: a prompt is asked again with the beginning of its gold answer already written, and the policy goes on from there.
--   $beta = 1.0            chance that a prompt is reset; 0: none
--   $unit = "word"         what the beginning is counted in: word, or character for gold answers of a word
--   $gold = null           JSON path in prompts.meta to the gold answer, such as "$.solution"; null: prompts.reference
--   $gold_form = "{gold}"  text around the gold answer
-- Of a gold answer of n units the first 1, 2, ... or n - 1 stand there, each length as likely; one of a single unit cannot be reset.
-- Source: Chang et al., "Dataset Reset Policy Optimization for RLHF", arXiv 2404.08495 (there in tokens).
WITH golden AS (
    SELECT
        prompt_id,
        messages,
        regexp_extract_all(
            gold_answer(prompt_id, meta, reference, $gold, $gold_form),
            CASE $unit
                WHEN 'word' THEN '\s*\S+'
                WHEN 'character' THEN '(?s).'
                ELSE error(format('unit: expected word or character, found {:s}', $unit))::VARCHAR
            END
        ) AS units
    FROM prompts
    WHERE split = 'train' AND draw($seed, concat(prompt_id, '/reset')) < $beta
)

SELECT
    prompt_id,
    list_append(
        list_transform(messages, lambda m: {'role': m.role, 'content': m.content}),
        {
            'role': 'assistant',
            'content': array_to_string(units[: 1 + floor(draw($seed, concat(prompt_id, '/length')) * (len(units) - 1))::BIGINT], '')
        }
    ) AS messages
FROM golden
WHERE len(units) > 1
