-- Right answers with their score and a vector: for the pickers `deita`, `facility_location` and `k_center`.
--   $space = "prompt"   entry of `cluster` whose vectors are taken
--   $of = "prompts"     what that entry is of: prompts or generations (the vectors of a pool are not stored)
--   $per_prompt = 1     answers of a prompt that are candidates, those with the highest score; 0: all
--   $min_score = 1.0    an answer below it is no candidate
-- Answers of a prompt that have equal text count once. Answers that share a prompt's vector are near-duplicates to a picker.
-- Source: as of the picker; the score is that of the round's verifiers, where DEITA takes complexity times quality.
WITH right_answers AS (
    SELECT
        prompt_id,
        generation_id,
        score,
        sample,
        CASE $of
            WHEN 'prompts' THEN prompt_id
            WHEN 'generations' THEN generation_id
            ELSE error(format('of: expected prompts or generations, found {}', $of))
        END AS embedded_id
    FROM scored
    WHERE score >= $min_score
    QUALIFY row_number() OVER (PARTITION BY prompt_id, content_id ORDER BY sample, generation_id) = 1
),

best AS (
    SELECT *
    FROM right_answers
    QUALIFY
        $per_prompt = 0
        OR row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id) <= $per_prompt
)

SELECT
    best.generation_id AS item_id,
    best.prompt_id,
    best.score,
    coalesce(
        embeddings.vector,
        error(format('{} {:s} has no vector in the part {:s} of embeddings', $of, best.embedded_id, $space))::FLOAT []
    ) AS vector
FROM best
LEFT JOIN embeddings ON best.embedded_id = embeddings.item_id AND embeddings.part = $space
