-- gold_answer(prompt_id, meta, reference, path, form): the answer that a prompt's file gives, as a target to train on.
--   path: JSON path in prompts.meta to a worked solution, such as '$.solution'; null: prompts.reference, the final answer
--   form: text around it, where {gold} stands for it; gives text, and an error that names the prompt where there is none
-- Example: gold_answer('p1', NULL, '7', NULL, 'The answer is {gold}.') is 'The answer is 7.'
CREATE MACRO gold_answer(prompt_id, meta, reference, path, form) AS
    coalesce(
        replace(
            form::VARCHAR,
            '{gold}',
            nullif(trim(if(path::VARCHAR IS NULL, reference, meta ->> path::VARCHAR), concat(' ', chr(9), chr(10), chr(13))), '')
        ),
        error(
            format(
                'prompt {} has no gold answer: {:s}',
                prompt_id,
                coalesce('nothing at ' || path::VARCHAR || ' in its meta', 'no reference; name its column in prompts.fields.reference')
            )
        )::VARCHAR
    )
