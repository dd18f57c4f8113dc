-- Rows of every group: equally many, or in proportion to the groups' sizes, or between the two; drawn uniformly in a group.
-- A row is a prompt with its best answer (the highest score, ties to the earlier sample), so a prompt is chosen once.
--   $by = "topic"            groups: topic, task, or a column of the files (in prompts.meta; also a JSON path)
--   $share = 0.5             rows to choose, as a share of those that may be chosen, rounded
--   $rows = null             rows to choose, instead of $share
--   $allocation = "uniform"  uniform: equally many of each group as far as it has them (water_fill); proportional;
--                            temperature: shares as size ** (1 / $temperature)
--   $temperature = 2.0       1 is proportional, a high one nearly uniform
--   $min_score = 1.0         an answer below it is never chosen
-- Source: uniform-by-source of Zhang et al., "Diversify and Conquer", arXiv 2409.11378; temperature sampling in "Upsample or
-- Upweight?", arXiv 2410.04579. Prompts without a group are a group of their own.
WITH best AS (
    SELECT
        prompt_id,
        generation_id
    FROM scored
    WHERE score >= $min_score
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id) = 1
),

pool AS (
    SELECT
        best.prompt_id,
        best.generation_id,
        coalesce(CASE $by WHEN 'topic' THEN p.topic WHEN 'task' THEN p.task ELSE p.meta ->> $by::VARCHAR END, '') AS stratum
    FROM best
    INNER JOIN prompts AS p ON p.prompt_id = best.prompt_id AND p.split = 'train'
),

budget AS (
    SELECT coalesce($rows::BIGINT, round($share::DOUBLE * count(prompt_id))::BIGINT) AS total
    FROM pool
),

sizes AS (
    SELECT
        list(stratum ORDER BY stratum) AS ids,
        list(n ORDER BY stratum) AS ns
    FROM (SELECT stratum, count(prompt_id) AS n FROM pool GROUP BY stratum)
),

quotas AS (
    SELECT
        unnest(sizes.ids) AS stratum,
        unnest(
            CASE $allocation
                WHEN 'uniform' THEN water_fill(sizes.ns, budget.total)
                WHEN 'proportional' THEN allocate(sizes.ns, sizes.ns, budget.total)
                WHEN 'temperature' THEN allocate(temperature_shares(sizes.ns, $temperature::DOUBLE), sizes.ns, budget.total)
                ELSE error(format('allocation: expected uniform, proportional or temperature, found {}', $allocation))
            END
        ) AS quota
    FROM sizes, budget
)

SELECT
    pool.prompt_id,
    pool.generation_id,
    row_number() OVER drawn AS rank,
    format('drawn in group {:s}, quota {}', pool.stratum, q.quota) AS reason
FROM pool
INNER JOIN quotas AS q ON q.stratum = pool.stratum
WINDOW drawn AS (PARTITION BY pool.stratum ORDER BY draw($seed, pool.prompt_id), pool.prompt_id)
QUALIFY rank <= q.quota
