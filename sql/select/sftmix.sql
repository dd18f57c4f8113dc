-- For the objective sftmix: right answers, half of them confident and half unconfident by their losses under several checkpoints, in pairs.
--   $min_score = 1.0               an answer below it takes no part
--   $measure = "loss_trajectory"   name of the measure with the method `loss_trajectory`
--   $log_ppl = false               true: confidence is minus the mean loss; false: minus the mean perplexity, as published
-- Confidence of a row is -mean_c exp(loss_c). The confident half are those above the median (ties by id); with an odd number the row in
-- the middle belongs to neither half and trains without a partner. Partners are drawn by lot, and lambda from Beta(1/2, 1/2), whose
-- inverse distribution is sin(pi u / 2) squared.
-- Source: Xiao et al., "SFTMix", arXiv 2410.05248.
WITH known AS (
    SELECT
        scored.prompt_id,
        scored.generation_id,
        try_cast(scores.detail::JSON AS DOUBLE[]) AS losses
    FROM scored
    INNER JOIN scores ON scores.item_id = scored.generation_id AND scores.scorer = $measure
    WHERE scored.score >= $min_score AND scores.value IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY scored.prompt_id, scored.content_id ORDER BY scored.sample, scored.generation_id) = 1
),

flat AS (
    SELECT
        prompt_id,
        generation_id,
        unnest(losses) AS loss
    FROM known
),

sure AS (
    SELECT
        prompt_id,
        generation_id,
        -fsum(if($log_ppl::BOOLEAN, loss, exp(loss))) / count(1) AS confidence
    FROM flat
    GROUP BY prompt_id, generation_id
),

halved AS (
    SELECT
        *,
        row_number() OVER (ORDER BY confidence DESC, generation_id) AS place,
        count(1) OVER () // 2 AS size,
        count(1) OVER () AS n
    FROM sure
),

paired AS (
    SELECT
        *,
        CASE WHEN place <= size THEN 1 WHEN place > n - size THEN 0 END AS half,
        row_number() OVER (PARTITION BY place <= size, place > n - size ORDER BY draw($seed, generation_id), generation_id) AS pair
    FROM halved
),

shared AS (
    SELECT
        *,
        sin(pi() / 2 * draw($seed, format('lambda {}', pair))) ** 2 AS lambda_
    FROM paired
)

SELECT
    prompt_id,
    generation_id,
    CASE
        WHEN half IS NULL THEN MAP {'confidence': confidence}
        ELSE MAP {'confidence': confidence, 'half': half::DOUBLE, 'pair': pair::DOUBLE, 'lambda': lambda_}
    END AS extra,
    CASE half WHEN 1 THEN 'confident' WHEN 0 THEN 'unconfident' END AS label,
    format('confidence {:.4f}', confidence) AS reason
FROM shared
