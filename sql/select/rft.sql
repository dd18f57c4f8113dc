-- All right answers of each prompt that differ in text: of equal answers the earliest sample.
--   $min_score = 1.0  an answer below it is not right
-- Source: Yuan et al., "Scaling Relationship on Learning Mathematical Reasoning with Large Language Models" (RFT),
-- arXiv 2308.01825; equal means equal text here, where the paper compares lists of equations.
WITH right_answers AS (
    SELECT
        prompt_id,
        generation_id,
        content_id,
        sample,
        row_number() OVER (PARTITION BY prompt_id, content_id ORDER BY sample, generation_id) AS copy,
        count(generation_id) OVER (PARTITION BY prompt_id, content_id) AS copies
    FROM scored
    WHERE score >= $min_score
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) AS rank,
    format('right, {} of this text', copies) AS reason
FROM right_answers
WHERE copy = 1
