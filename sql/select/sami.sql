-- SAMI's matrices: each prompt's answers, one written under each constitution, shown under all of them, C x C rows a prompt.
--   $constitutions         the texts that followup/constitutions.sql asked with, a list; principles of one are its lines
--   $form = "{constitution}\n\n{question}"  its $form
--   $followup = "constitutions"  the entry of `followup` that asked
--   $shuffle = true        the lines of a constitution in an order drawn for each prompt; false: as they stand
--   $ends = null           the answer under the first constitution must end with this, such as "."; null: with anything
--   $finished = true       answers that did not end by themselves do not count; false: they do
--   $odd = null            regular expression (RE2): a prompt with an answer that it finds is left out, such as "^\\[|Response"
-- extra: constitution and response, the place in the matrix (from 0). A prompt is left out where an answer is missing, empty or does
-- not count, or where two are the same.
-- Source: Fraenken et al., "Self-Supervised Alignment with Mutual Information", arXiv 2404.14313, and its code janphilippfranken/sami.
WITH listed AS (
    SELECT
        unnest($constitutions::VARCHAR[]) AS text,
        generate_subscripts($constitutions::VARCHAR[], 1) - 1 AS place
),

asked AS (
    SELECT
        p.prompt_id,
        p.messages,
        c.place,
        c.text,
        replace(replace($form, '{constitution}', c.text), '{question}', p.messages[-1].content) AS shown
    FROM prompts AS p
    CROSS JOIN listed AS c
    WHERE p.split = 'train'
),

answers AS (
    SELECT
        a.prompt_id,
        a.place,
        g.generation_id,
        g.response,
        g.actor
    FROM asked AS a
    INNER JOIN followup.generations AS g
        ON g.prompt_id = a.prompt_id AND g.part = 'followup/' || $followup AND g.messages[-1].content = a.shown
    WHERE trim(g.response) <> ''
        AND (g.finish_reason = 'stop' OR NOT $finished::BOOLEAN)
        AND NOT coalesce(regexp_matches(g.response, $odd), false)
        AND (a.place > 0 OR ends_with(rtrim(g.response), coalesce($ends, '')))
    QUALIFY row_number() OVER (PARTITION BY a.prompt_id, a.place ORDER BY g.sample, g.generation_id) = 1
),

whole AS (
    SELECT prompt_id
    FROM answers
    GROUP BY prompt_id
    HAVING count(place) = len($constitutions::VARCHAR[]) AND count(DISTINCT response) = len($constitutions::VARCHAR[])
),

lines AS (
    SELECT
        asked.*,
        unnest(string_split(text, chr(10))) AS line,
        generate_subscripts(string_split(text, chr(10)), 1) AS number
    FROM asked
),

shown AS (
    SELECT
        prompt_id,
        place,
        string_agg(
            line,
            chr(10)
            ORDER BY if($shuffle::BOOLEAN, draw($seed, concat(prompt_id, '/', place, '/', number)), 0), number
        ) AS text
    FROM lines
    GROUP BY prompt_id, place
)

SELECT
    a.prompt_id,
    a.generation_id,
    left(md5(concat($round, '/', a.generation_id, '/', s.place)), 16) AS row_id,
    demonstration(
        list_append(
            p.messages[:-2],
            {
                'role': p.messages[-1].role,
                'content': replace(replace($form, '{constitution}', s.text), '{question}', p.messages[-1].content)
            }
        ),
        a.response,
        a.actor
    ) AS messages,
    s.place * len($constitutions::VARCHAR[]) + a.place AS rank,
    MAP {'constitution': s.place::DOUBLE, 'response': a.place::DOUBLE} AS extra,
    format('answer under constitution {} shown under {}', a.place, s.place) AS reason
FROM answers AS a
INNER JOIN whole ON whole.prompt_id = a.prompt_id
INNER JOIN shown AS s ON s.prompt_id = a.prompt_id
INNER JOIN prompts AS p ON p.prompt_id = a.prompt_id AND p.split = 'train'
