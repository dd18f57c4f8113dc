-- B-STaR: of each prompt the answers whose reward is above the plan's threshold, the best first, as many as the plan keeps.
--   $threshold = null  keep answers with a higher reward; null: the plan's key `threshold`
--   $target = null     rows in all: answers a prompt grow from 1 until so many are kept (the paper's way for a whole round)
--   $keep = null       answers a prompt; null: from $target, else the plan's key `keep`
--   $max = 64          answers a prompt at most
--   $dedupe = "after"  equal texts count once: after the cut, as the code does; before it; or none
--   $gold = null       JSON path in a prompt's meta to a worked solution that stands beside the answers, e.g. "$.solution"
--   $gold_score = 1.0  and its reward
-- Source: Zeng et al., "B-STaR", arXiv 2412.17256. Answers without a final answer never train.
WITH chosen AS (
    SELECT
        coalesce($threshold::DOUBLE, max(value::DOUBLE) FILTER (WHERE key = 'threshold')) AS threshold,
        coalesce($keep::BIGINT, max(value::DOUBLE) FILTER (WHERE key = 'keep' AND $target::BIGINT IS NULL))::BIGINT AS keep
    FROM plan
    WHERE item_id IS NULL
),

candidates AS (
    SELECT prompt_id, generation_id, sample, score, md5(response) AS text_id, NULL AS solution
    FROM scored
    WHERE score IS NOT NULL AND coalesce(verdict, '') <> 'unparseable'
    UNION ALL
    SELECT prompt_id, NULL, 9223372036854775807, $gold_score::DOUBLE, md5(meta ->> $gold::VARCHAR), meta ->> $gold::VARCHAR
    FROM prompts
    WHERE meta ->> $gold::VARCHAR IS NOT NULL
),

marked AS (
    SELECT
        candidates.*,
        row_number() OVER (
            PARTITION BY candidates.prompt_id, candidates.text_id
            ORDER BY candidates.score DESC, candidates.sample, candidates.generation_id
        ) = 1 AS is_new
    FROM candidates
    CROSS JOIN chosen
    WHERE candidates.score > chosen.threshold
),

ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id) AS place,
        CASE $dedupe
            WHEN 'none' THEN true
            WHEN 'before' THEN is_new
            WHEN 'after' THEN is_new
            -- a failing cast carries the message
            ELSE format('dedupe: expected after, before or none, found {}', $dedupe)::BOOLEAN
        END AS counts
    FROM marked
    WHERE is_new OR $dedupe <> 'before'
),

totals AS (
    SELECT place, sum(count(place) FILTER (WHERE counts)) OVER (ORDER BY place) AS total
    FROM ranked
    GROUP BY place
),

size AS (
    SELECT
        least(
            $max::BIGINT,
            coalesce(any_value(chosen.keep), min(totals.place) FILTER (WHERE totals.total >= $target::BIGINT), $max::BIGINT)
        ) AS keep
    FROM chosen
    LEFT JOIN totals ON true
)

SELECT
    ranked.prompt_id,
    ranked.generation_id,
    CASE
        WHEN ranked.solution IS NOT NULL
            THEN list_append(prompts.messages, {'role': 'assistant', 'content': ranked.solution})
    END AS messages,
    ranked.place AS rank,
    CASE WHEN ranked.solution IS NULL THEN 'generation' ELSE 'gold' END AS origin,
    format('reward {:g}, {} of {}', ranked.score, ranked.place, size.keep) AS reason
FROM ranked
CROSS JOIN size
INNER JOIN prompts ON prompts.prompt_id = ranked.prompt_id
WHERE ranked.counts AND ranked.place <= size.keep
