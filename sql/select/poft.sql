-- For the objective poft: the best answers of each prompt with the mean log-probability that aligned models give them, as `anchor`.
--   $top = 1              answers kept for each prompt
--   $min_score = 1.0      an answer below it is never kept
--   $measure = "anchor"   name of the measure with the method `anchor`
-- An answer that one of the aligned models has no number for is left out, as is one whose text a better placed answer of the prompt has.
-- Source: Fan et al., "Preference-Oriented Supervised Fine-Tuning", arXiv 2412.12865.
WITH known AS (
    SELECT
        scored.prompt_id,
        scored.generation_id,
        scored.score,
        scored.sample,
        scores.value AS anchor
    FROM scored
    INNER JOIN scores ON scores.item_id = scored.generation_id AND scores.scorer = $measure
    WHERE scored.score >= $min_score AND scores.value IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY scored.prompt_id, scored.content_id ORDER BY scored.sample, scored.generation_id) = 1
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER best AS rank,
    MAP {'anchor': anchor} AS extra,
    format('score {:g}, anchor {:.4f}', score, anchor) AS reason
FROM known
WINDOW best AS (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id)
QUALIFY rank <= $top
