-- Asks every prompt of the round once under each constitution: the text of the constitution stands before its last message.
--   $constitutions         texts, a list; principles of one are its lines
--   $form = "{constitution}\n\n{question}"  how the two stand together
-- Source: SAMI (Fraenken et al., arXiv 2404.14313). select/sami.sql, with the same parameters, makes the matrices that train.
SELECT
    p.prompt_id,
    NULL AS parent_id,
    list_append(
        p.messages[:-2],
        {
            'role': p.messages[-1].role,
            'content': replace(replace($form, '{constitution}', one.text), '{question}', p.messages[-1].content)
        }
    ) AS messages
FROM prompts AS p
CROSS JOIN (SELECT unnest($constitutions::VARCHAR[]) AS text) AS one
WHERE p.split = 'train'
