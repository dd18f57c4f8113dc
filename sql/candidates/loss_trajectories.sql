-- Right answers with their losses under the checkpoints so far, and the topic as their source: for the picker `trajectories`.
--   $min_score = 1.0              an answer below it is no candidate
--   $measure = "loss_trajectory"  name of the measure
-- Answers of equal text count once; one that was too long for the measure is no candidate. Equal losses of two checkpoints
-- are kept: all trajectories of a round have one length.
-- Source: Yang et al., "SmallToLarge (S2L)", arXiv 2403.07384.
SELECT
    scored.generation_id AS item_id,
    scored.prompt_id,
    try_cast(scores.detail::JSON AS DOUBLE[]) AS vector,
    coalesce(prompts.topic, prompts.task, 'one') AS source
FROM scored
INNER JOIN prompts ON scored.prompt_id = prompts.prompt_id
INNER JOIN scores ON scored.generation_id = scores.item_id AND scores.scorer = $measure
WHERE scored.score >= $min_score AND scores.value IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY scored.prompt_id, scored.content_id ORDER BY scored.generation_id) = 1
