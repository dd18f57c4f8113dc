-- One answer a prompt: the right text that the policy gave most often, ties to the smallest content id; its earliest sample.
--   $min_score = 1.0  an answer below it is not right
-- Source: rejection sampling with a majority among the right answers; frequent right texts are rarely lucky ones.
WITH texts AS (
    SELECT
        prompt_id,
        content_id,
        count(generation_id) AS copies,
        arg_min(generation_id, {'sample': sample, 'id': generation_id}) AS generation_id
    FROM scored
    WHERE score >= $min_score
    GROUP BY prompt_id, content_id
)

SELECT
    prompt_id,
    generation_id,
    format('given {} times', copies) AS reason
FROM texts
QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY copies DESC, content_id) = 1
