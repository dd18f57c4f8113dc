-- Right answers with their score and the labels of their prompts: for the picker `mig`.
--   $labels = null       JSON path in prompts.meta to a list of texts, such as "$.labels", that is taken as labels
--   $topic = true        the prompt's topic and task are labels
--   $clusters = "prompt"  entry of `cluster` (of prompts or the pool) whose cluster's words are labels; "": none
--   $per_prompt = 1      answers of a prompt that are candidates, those with the highest score; 0: all
--   $min_score = 1.0     an answer below it is no candidate
-- Answers of a prompt that have equal text count once. An answer without labels is a candidate that adds nothing.
-- Source: Chen et al., "MIG", arXiv 2504.13835, whose labels are the tags that a tagger gives to prompt and answer.
WITH right_answers AS (
    SELECT
        prompt_id,
        generation_id,
        score,
        sample
    FROM scored
    WHERE score >= $min_score
    QUALIFY row_number() OVER (PARTITION BY prompt_id, content_id ORDER BY sample, generation_id) = 1
),

best AS (
    SELECT
        prompt_id,
        generation_id,
        score
    FROM right_answers
    QUALIFY
        $per_prompt = 0
        OR row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id) <= $per_prompt
),

words AS (
    SELECT
        clusters.item_id,
        cluster_stats.label
    FROM clusters
    INNER JOIN cluster_stats ON clusters.part = cluster_stats.part AND clusters.cluster_id = cluster_stats.cluster_id
    WHERE clusters.part = $clusters
)

SELECT
    best.generation_id AS item_id,
    best.prompt_id,
    best.score,
    list_concat(
        if($topic::BOOLEAN, [prompts.topic, prompts.task], []::VARCHAR []),
        coalesce(string_split(words.label, ', '), []::VARCHAR []),
        coalesce(if($labels::VARCHAR IS NULL, NULL, json_extract(prompts.meta, $labels::VARCHAR)::VARCHAR []), []::VARCHAR [])
    ) AS labels
FROM best
INNER JOIN prompts ON best.prompt_id = prompts.prompt_id AND prompts.split = 'train'
LEFT JOIN words ON best.prompt_id = words.item_id
