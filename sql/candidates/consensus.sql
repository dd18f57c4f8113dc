-- All answers of each prompt, to be compared with each other: for the picker `consensus`.
--   $by = "sample"      answers that are compared: sample: all of a prompt, in order of the samples; actor: the first answer of
--                       each actor, in the order of $actors, others behind them by name
--   $actors = null      actors in the order that breaks ties, a list; in the source the generator stands first
--   $min_score = null   an answer below it is no candidate; null: the answers need no score
-- Source: Lee et al., "Ensemble-Instruct", EMNLP Findings 2023: one answer of each of three models.
WITH answers AS (
    SELECT
        generation_id,
        prompt_id,
        response,
        actor,
        sample,
        coalesce(list_position($actors::VARCHAR[], actor), len($actors::VARCHAR[]) + 1, 0) AS actor_place
    FROM scored
    WHERE $min_score::DOUBLE IS NULL OR score >= $min_score::DOUBLE
)

SELECT
    generation_id AS item_id,
    prompt_id,
    prompt_id AS "group",
    response,
    CASE $by
        WHEN 'sample' THEN row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id)
        WHEN 'actor' THEN row_number() OVER (PARTITION BY prompt_id ORDER BY actor_place, actor, sample, generation_id)
        ELSE error(format('by: expected sample or actor, found {}', $by))::BIGINT
    END AS place
FROM answers
QUALIFY $by <> 'actor' OR row_number() OVER (PARTITION BY prompt_id, actor ORDER BY sample, generation_id) = 1
