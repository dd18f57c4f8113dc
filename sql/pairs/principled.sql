-- Pairs for a reward model that reads principles: the answer that wins under the principles drawn for the pair against the other, with
-- the principle that decided written before the prompt.
--   $scorer = "salmon"   the measure of sql/measures/salmon.sql: 1 for an answer that won, 0 for one that lost, with the principle
--   $form = "Principle: {principle}\n\n{question}"  how the two stand together
--   $not = "not {principle}"  how a principle stands there that was turned round
-- A prompt of two answers makes one pair; of more, each winner of all its comparisons against each loser of all with the same
-- principle. Undecided ones make none. The principle is shown by its name in the judge's criteria, underscores as blanks.
-- Source: Sun et al., "SALMON" (arXiv 2310.05910), stage 3, whose reward model sees all principles drawn for a pair; here only the one
-- that decides.
WITH told AS (
    SELECT
        g.prompt_id,
        g.generation_id,
        s.value,
        regexp_extract(s.detail, '^(not )?(.+?): ', 2) AS principle,
        starts_with(s.detail, 'not ') AS is_turned
    FROM generations AS g
    INNER JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $scorer AND s.segment IS NULL
    WHERE s.value IN (0, 1)
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    list_append(
        list_transform(p.messages[:-2], lambda m: {'role': m.role, 'content': m.content}),
        {
            'role': p.messages[-1].role,
            'content': replace(
                replace($form, '{principle}', if(w.is_turned, replace($not, '{principle}', w.principle), w.principle)),
                '{question}',
                p.messages[-1].content
            )
        }
    ) AS messages,
    if(w.is_turned, 'not ', '') || w.principle AS reason
FROM told AS w
INNER JOIN told AS l
    ON l.prompt_id = w.prompt_id AND l.value = 0 AND l.principle = w.principle AND l.is_turned = w.is_turned
INNER JOIN prompts AS p ON p.prompt_id = w.prompt_id AND p.split = 'train'
WHERE w.value = 1
