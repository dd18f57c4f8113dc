-- Prompts drawn by how far their answers spread in reward, without replacement; each trains with its best answer.
--   $info = "max_min"   what is wanted of a prompt: max_min: best minus worst reward; max_mean: best minus mean
--   $share = 0.25       share of the prompts that is drawn, rounded, at least one
--   $min_score = null   a best answer below it does not train; its prompt may still be drawn. null: any
-- A prompt whose answers all have one reward is never drawn, unless that holds for all prompts: then the draw is uniform.
-- Source: Ye et al., "Evolving Alignment via Asymmetric Self-Play" (eva), arXiv 2411.00062: its estimate of informativeness and its
-- weighted draw, which does better there than taking the largest; not its rewriting of prompts.
WITH spread AS (
    SELECT
        prompt_id,
        arg_min(generation_id, {'score': -score, 'sample': sample, 'id': generation_id}) AS generation_id,
        max(score) AS best,
        CASE $info
            WHEN 'max_min' THEN max(score) - min(score)
            WHEN 'max_mean' THEN greatest(max(score) - fsum(score) / count(score), 0)
            ELSE error(format('info: expected max_min or max_mean, found {}', $info))::DOUBLE
        END AS info
    FROM scored
    WHERE score IS NOT NULL
    GROUP BY prompt_id
),

weighed AS (
    SELECT
        *,
        CASE WHEN max(info) OVER () > 0 THEN info ELSE 1.0::DOUBLE END AS weight,
        greatest(1, round($share * count(prompt_id) OVER ())) AS wanted
    FROM spread
),

drawn AS (
    SELECT
        *,
        weight / fsum(weight) OVER () AS chance,
        row_number() OVER (ORDER BY sampling_key($seed, prompt_id, weight), prompt_id) AS rank
    FROM weighed
    WHERE weight > 0
)

SELECT
    prompt_id,
    generation_id,
    rank,
    format('informativeness {:.4f}, {:.4f} of the weight, best reward {:g}', info, chance, best) AS reason
FROM drawn
WHERE rank <= wanted AND ($min_score::DOUBLE IS NULL OR best >= $min_score::DOUBLE)
