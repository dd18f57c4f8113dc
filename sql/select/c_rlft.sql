-- For the objective c_rlft: answers of two classes, each under its own condition at the beginning of the last question.
--   $experts = null               actors whose answers are the expert's, a list; null: answers with a score of at least $min_score
--   $min_score = 1.0              for $experts = null
--   $expert = "GPT4 Correct: "    the expert's condition; the policy must be asked under it too (prompts.fields.template), and a
--                                 question that begins with it already gets no second one
--   $other = "GPT3: "             the condition of all other answers
--   $expert_weight = 1.0          weight of the expert's answers, its reward
--   $other_weight = 0.1           weight of the others
--   $asked = "any"                expert: a question that does not begin with the expert's condition is an error, since the policy answers
--                                 without it then; any: it is put there for the row that trains
--   $per_class = 1                answers of each class kept for each prompt, best first, ties to the earlier sample
-- Answers without a score belong to no class unless $experts names actors. The loss divides by the sum of weights of a batch.
-- Source: Wang et al., "OpenChat", arXiv 2309.11235.
WITH classed AS (
    SELECT
        prompt_id,
        generation_id,
        sample,
        score,
        CASE WHEN $experts::VARCHAR[] IS NULL THEN score >= $min_score ELSE list_contains($experts::VARCHAR[], actor) END AS expert
    FROM scored
),

chosen AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY prompt_id, expert ORDER BY score DESC NULLS LAST, sample, generation_id) AS place
    FROM classed
    WHERE expert IS NOT NULL
    QUALIFY place <= $per_class
),

asked AS (
    SELECT
        c.prompt_id,
        c.generation_id,
        c.expert,
        c.place,
        g.response,
        g.actor,
        coalesce(g.messages, p.messages) AS said,
        if(c.expert, $expert, $other) AS condition
    FROM chosen AS c
    INNER JOIN generations AS g ON g.generation_id = c.generation_id
    INNER JOIN prompts AS p ON p.prompt_id = c.prompt_id
),

placed AS (
    SELECT
        *,
        len(said) - list_position(list_reverse(list_transform(said, lambda m: m.role)), 'user') + 1 AS last_question
    FROM asked
)

SELECT
    prompt_id,
    generation_id,
    list_append(
        list_transform(
            said,
            lambda m, i: {
                'role': m.role,
                'content': CASE
                    WHEN i <> last_question THEN m.content
                    WHEN $asked = 'expert' AND NOT starts_with(m.content, $expert)
                        THEN error(
                            format('prompt {} was not asked under "{:s}": let prompts.fields.template begin with it', prompt_id, $expert)
                        )::VARCHAR
                    WHEN $asked NOT IN ('any', 'expert') THEN error(format('asked: expected any or expert, found {:s}', $asked))::VARCHAR
                    ELSE condition || if(starts_with(m.content, $expert), substr(m.content, length($expert) + 1), m.content)
                END,
                'origin': 'prompt',
                'weight': 0.0::DOUBLE
            }
        ),
        {'role': 'assistant', 'content': response, 'origin': actor, 'weight': 1.0::DOUBLE}
    ) AS messages,
    if(expert, $expert_weight, $other_weight)::DOUBLE AS weight,
    if(expert, 'expert', 'other') AS label,
    place AS rank,
    format('under {}', condition) AS reason
FROM placed
