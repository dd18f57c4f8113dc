-- Several actors side by side: of each prompt the best answers of each actor, ties to the earlier sample.
--   $top = 1          answers kept for each prompt and actor
--   $min_score = 1.0  an answer below it is never kept
--   $actors = null    only these actors, a list; null: all
--   $fill = false     true: the actors stand in for each other: a prompt takes the answers of the first actor, in the order of
--                     $actors, that has one of at least $min_score (without $actors, in the order of their names)
-- An answer whose text an earlier actor of the prompt also gave is left out, so that nothing trains twice because two agree.
WITH known AS (
    SELECT
        prompt_id,
        generation_id,
        content_id,
        actor,
        score,
        sample,
        coalesce(list_position($actors::VARCHAR[], actor), 0) AS place
    FROM scored
    WHERE score >= $min_score AND ($actors::VARCHAR[] IS NULL OR list_contains($actors::VARCHAR[], actor))
),

fresh AS (
    SELECT *
    FROM known
    QUALIFY dense_rank() OVER (PARTITION BY prompt_id, content_id ORDER BY place, actor) = 1
),

chosen AS (
    SELECT *
    FROM fresh
    QUALIFY NOT $fill::BOOLEAN OR dense_rank() OVER (PARTITION BY prompt_id ORDER BY place, actor) = 1
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER best AS rank,
    format('score {:g}, of {}', score, actor) AS reason
FROM chosen
WINDOW best AS (PARTITION BY prompt_id, actor ORDER BY score DESC, sample, generation_id)
QUALIFY rank <= $top
