-- What scorers and judges owe to the length of an answer, by round. longer_wins: share of pairs of a prompt's answers that
-- differ in length and score where the longer one is better (judges: of their judgements); correlation: of score and length
-- within a prompt (both less the prompt's mean); matched_score: the mean score at the mean length of the scorer's first round,
-- by the slope within prompts over all rounds: a score that rises while this does not has only grown longer.
--   $experiment = null    one experiment; null: all
--   $part = "rollout"     rollout, eval, calibrate or followup/NAME (comparisons are of rollouts)
--   $unit = "characters"  characters or tokens
WITH answers AS (
    SELECT
        experiment,
        round,
        part,
        generation_id,
        prompt_id,
        (CASE $unit WHEN 'tokens' THEN response_tokens WHEN 'characters' THEN length(response)
            ELSE error('unit: expected characters or tokens, found ' || $unit) END)::DOUBLE AS size
    FROM lake.generations
    WHERE part = $part AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
),

scored AS (
    SELECT
        s.experiment,
        s.round,
        s.scorer,
        s.item_id,
        s.prompt_id,
        s.value,
        a.size
    FROM lake.scores AS s
    INNER JOIN answers AS a ON a.experiment = s.experiment AND a.round = s.round AND a.generation_id = s.item_id
    WHERE s.part = $part || '/' || s.scorer AND s.value IS NOT NULL AND a.size IS NOT NULL AND s.item_kind = 'generation'
),

prompt_means AS (
    SELECT
        experiment,
        round,
        scorer,
        prompt_id,
        fsum(value ORDER BY item_id) / count(*) AS value,
        fsum(size ORDER BY item_id) / count(*) AS size
    FROM scored
    GROUP BY experiment, round, scorer, prompt_id
),

moved AS (
    SELECT s.*, s.value - m.value AS dv, s.size - m.size AS ds
    FROM scored AS s
    INNER JOIN prompt_means AS m
        ON m.experiment = s.experiment AND m.round = s.round AND m.scorer = s.scorer AND m.prompt_id = s.prompt_id
),

slopes AS (
    SELECT
        experiment,
        scorer,
        fsum(dv * ds ORDER BY round, item_id) / nullif(fsum(ds * ds ORDER BY round, item_id), 0) AS slope
    FROM moved
    GROUP BY experiment, scorer
),

rounds_of AS (
    SELECT
        experiment,
        round,
        scorer,
        count(*) AS items,
        fsum(value ORDER BY item_id) / count(*) AS mean_score,
        fsum(size ORDER BY item_id) / count(*) AS mean_length,
        pearson(list(dv ORDER BY item_id), list(ds ORDER BY item_id)) AS correlation
    FROM moved
    GROUP BY experiment, round, scorer
),

contests AS (
    SELECT
        a.experiment,
        a.round,
        a.scorer,
        count(*) FILTER (WHERE (a.value > b.value) = (a.size > b.size)) / count(*) AS longer_wins
    FROM scored AS a
    INNER JOIN scored AS b
        ON b.experiment = a.experiment AND b.round = a.round AND b.scorer = a.scorer AND b.prompt_id = a.prompt_id
        AND b.item_id > a.item_id AND b.value <> a.value AND b.size <> a.size
    GROUP BY a.experiment, a.round, a.scorer
),

judged AS (
    SELECT
        p.experiment,
        p.round,
        p.judge,
        count(*) AS items,
        count(*) FILTER (WHERE (p.probability > 0.5) = (l.size > r.size)) / count(*) AS longer_wins,
        fsum((l.size + r.size) / 2 ORDER BY p.left_id, p.right_id, p."order") / count(*) AS mean_length
    FROM lake.preferences AS p
    INNER JOIN answers AS l ON l.experiment = p.experiment AND l.round = p.round AND l.generation_id = p.left_id
    INNER JOIN answers AS r ON r.experiment = p.experiment AND r.round = p.round AND r.generation_id = p.right_id
    WHERE p."order" IN ('forward', 'swapped') AND p.probability <> 0.5 AND l.size <> r.size
    GROUP BY p.experiment, p.round, p.judge
)

SELECT
    o.experiment,
    o.round,
    'scorer' AS kind,
    o.scorer,
    o.items,
    c.longer_wins,
    o.correlation,
    o.mean_length,
    o.mean_score,
    o.mean_score - coalesce(slopes.slope, 0) * (
        o.mean_length - first_value(o.mean_length) OVER (PARTITION BY o.experiment, o.scorer ORDER BY o.round)
    ) AS matched_score
FROM rounds_of AS o
INNER JOIN slopes ON slopes.experiment = o.experiment AND slopes.scorer = o.scorer
LEFT JOIN contests AS c ON c.experiment = o.experiment AND c.round = o.round AND c.scorer = o.scorer
UNION ALL
SELECT experiment, round, 'judge', judge, items, longer_wins, NULL, mean_length, NULL, NULL
FROM judged
ORDER BY experiment, kind, scorer, round
