-- Asks the model to say the gold answer in its own words, for every prompt of which none of its answers is right.
--   $min_score = 1.0      score from which an answer is right
--   $gold = null          JSON path in prompts.meta to the gold answer, such as "$.solution"; null: prompts.reference
--   $ask = "A correct answer is:\n\n{gold}\n\nWrite a correct answer to the question in your own words, with the same result."
--                         what stands below the question; {gold} is the gold answer
-- Source: the paraphrasing step of S3FT (Gupta et al., arXiv 2502.08130).
WITH rated AS (
    SELECT
        prompt_id,
        arg_min(generation_id, {'sample': sample, 'id': generation_id}) AS generation_id,
        coalesce(max(score), -'infinity'::DOUBLE) >= $min_score AS is_right
    FROM scored
    GROUP BY prompt_id
)

SELECT
    p.prompt_id,
    rated.generation_id AS parent_id,
    list_append(
        p.messages[:-2],
        {
            'role': p.messages[-1].role,
            'content': concat(
                p.messages[-1].content,
                chr(10),
                chr(10),
                replace($ask, '{gold}', gold_answer(p.prompt_id, p.meta, p.reference, $gold, '{gold}'))
            )
        }
    ) AS messages
FROM prompts AS p
LEFT JOIN rated ON rated.prompt_id = p.prompt_id
WHERE p.split = 'train' AND NOT coalesce(rated.is_right, false)
