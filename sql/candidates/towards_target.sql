-- Right answers with their vectors, those of target prompts marked: for the picker `optimal_transport`.
--   $target = null    topic whose prompts are the target sample; null: prompts by lot
--   $target_share = 0.2  share of the prompts that is the target where no topic is named; the same prompts in every round
--   $space = "answers"  entry of `cluster` with `of: generations`
--   $min_score = 1.0  an answer below it is neither candidate nor target
-- The target is a part of the training prompts: selection never reads those of evaluation. Answers of equal text count once.
-- Source: Kang et al., "Get more for less" (GOT-D), arXiv 2405.02774.
SELECT
    scored.generation_id AS item_id,
    scored.prompt_id,
    embeddings.vector,
    coalesce(if($target::VARCHAR IS NULL, draw('target', scored.prompt_id) < $target_share, prompts.topic = $target), false) AS target
FROM scored
INNER JOIN prompts ON scored.prompt_id = prompts.prompt_id
INNER JOIN embeddings ON scored.generation_id = embeddings.item_id AND embeddings.part = $space
WHERE scored.score >= $min_score
QUALIFY row_number() OVER (PARTITION BY scored.prompt_id, scored.content_id ORDER BY scored.generation_id) = 1
