-- For the objective kto: answers labelled desirable or undesirable by their score.
--   $desirable = 1.0     an answer with at least this score is desirable
--   $undesirable = 0.0   an answer with at most this score is undesirable; those between the two take no part
--   $per_label = null    answers kept of each label and prompt, the earlier samples first; null: all
-- An answer whose text an earlier sample of the prompt has is left out. Where one label has many more rows than the other, set
-- desirable_weight and undesirable_weight of the objective so that their products with the counts are near each other.
-- Source: Ethayarajh et al., "KTO", arXiv 2402.01306.
WITH labelled AS (
    SELECT
        prompt_id,
        generation_id,
        sample,
        score,
        CASE WHEN score >= $desirable THEN 'desirable' WHEN score <= $undesirable THEN 'undesirable' END AS label
    FROM scored
    QUALIFY row_number() OVER (PARTITION BY prompt_id, content_id ORDER BY sample, generation_id) = 1
)

SELECT
    prompt_id,
    generation_id,
    label,
    row_number() OVER (PARTITION BY prompt_id, label ORDER BY sample, generation_id) AS rank,
    format('score {:g}', score) AS reason
FROM labelled
WHERE label IS NOT NULL
QUALIFY $per_label::BIGINT IS NULL OR rank <= $per_label
