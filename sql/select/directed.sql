-- The best answer of each prompt under each direction it was asked in (followup/directed.sql), by its two qualities in that direction.
--   $first = "score"         scorer of the first quality
--   $second = null           scorer of the second quality; null: the words of the answer
--   $standardise = true      qualities as standard scores of the round before they are weighed, since their scales differ
--   $followup = "directed"   the entry of `followup` that asked
--   $min_score = null        an answer whose first quality is below it is never kept; null: any
-- The direction is the two numbers after the stars in the message that asked. Ties go to the earlier sample; an answer that lacks one of
-- the qualities takes no part. Source: Wang et al. (DPA), arXiv 2402.18571: rejection sampling under the direction that the prompt names.
WITH said AS (
    SELECT
        g.prompt_id,
        g.generation_id,
        g.sample,
        g.actor,
        g.response,
        g.messages,
        list_transform(regexp_extract_all(g.messages[1].content, '\*(-?\d+)', 1), lambda n: n::DOUBLE) AS direction,
        one.value AS first_,
        if($second::VARCHAR IS NULL, len(split_words(g.response))::DOUBLE, two.value) AS second_
    FROM followup.generations AS g
    INNER JOIN followup.scores AS one ON one.item_id = g.generation_id AND one.scorer = $first
    LEFT JOIN followup.scores AS two ON two.item_id = g.generation_id AND two.scorer = $second
    WHERE g.part = 'followup/' || $followup
),

known AS (
    SELECT
        *,
        fsum(first_) OVER () / count(1) OVER () AS first_mean,
        fsum(second_) OVER () / count(1) OVER () AS second_mean
    FROM said
    WHERE first_ IS NOT NULL AND second_ IS NOT NULL
),

spread AS (
    SELECT
        *,
        sqrt(fsum((first_ - first_mean) ** 2) OVER () / count(1) OVER ()) AS first_std,
        sqrt(fsum((second_ - second_mean) ** 2) OVER () / count(1) OVER ()) AS second_std
    FROM known
),

weighed AS (
    SELECT
        *,
        direction(
            CASE
                WHEN NOT $standardise::BOOLEAN THEN [first_, second_]
                ELSE [
                    coalesce((first_ - first_mean) / nullif(first_std, 0.0::DOUBLE), 0.0::DOUBLE),
                    coalesce((second_ - second_mean) / nullif(second_std, 0.0::DOUBLE), 0.0::DOUBLE)
                ]
            END,
            direction
        ) AS reward
    FROM spread
    WHERE $min_score::DOUBLE IS NULL OR first_ >= $min_score
)

SELECT
    prompt_id,
    generation_id,
    list_append(
        list_transform(messages, lambda m: {'role': m.role, 'content': m.content, 'origin': 'prompt', 'weight': 0.0::DOUBLE}),
        {'role': 'assistant', 'content': response, 'origin': actor, 'weight': 1.0::DOUBLE}
    ) AS messages,
    format('{:.0f},{:.0f}', direction[1], direction[2]) AS label,
    format('{:g} and {:g}: {:.4f} in direction {:.0f}, {:.0f}', first_, second_, reward, direction[1], direction[2]) AS reason
FROM weighed
QUALIFY row_number() OVER (PARTITION BY prompt_id, direction ORDER BY reward DESC, sample, generation_id) = 1
