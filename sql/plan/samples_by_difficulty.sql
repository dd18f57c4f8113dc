-- More answers for prompts that are hard: each gets $least, the rest of the budget is shared in proportion to the fail rates, up to
-- $most a prompt. Whole numbers by largest remainder, ties in the order of the ids, so that their sum is exactly the budget. For
-- generate.plan.
--   $samples = 8        answers a prompt on average: the budget is this times the round's prompts
--   $total = null       the budget itself, instead of $samples
--   $least = 1          answers of a prompt that is never failed
--   $most = 64          and of one that is always failed at most
--   $by = "prompt"      whose fail rate: prompt: its own in the last earlier round that asked it; topic or task: that of all
--                       prompts of its topic or task in the last round that had it; difficulty: the column `difficulty`, from
--                       the easiest (0) to the hardest (1) prompt of the round
--   $bar = 1.0          score from which an answer is right
--   $power = 1.0        fail rates to this power: 2 spends more on the hardest, 0 the same on all
--   $unseen = 0.5       fail rate of a prompt of which nothing is known
--   $key = "samples"    key of the rows; "cap" where generate.until is set
-- Fail rates count in thousandths. Where a budget is too small for $least or too large for $most, it is an error.
-- Source: the proportional budgets of DART-Math (Tong et al., arXiv 2407.13690), over trials in place of right answers.
WITH asked AS (
    SELECT
        prompt_id,
        CASE $by
            WHEN 'prompt' THEN prompt_id
            WHEN 'topic' THEN topic
            WHEN 'task' THEN task
            WHEN 'difficulty' THEN prompt_id
            ELSE error(format('by: expected prompt, topic, task or difficulty, found {:s}', $by))
        END AS item,
        difficulty
    FROM prompts
    WHERE split = 'train'
),

tried AS (
    SELECT
        CASE $by WHEN 'topic' THEN p.topic WHEN 'task' THEN p.task ELSE s.prompt_id END AS item,
        s.round,
        count(s.generation_id) AS trials,
        count(s.generation_id) FILTER (WHERE coalesce(s.score < $bar, true)) AS wrong
    FROM history.scored AS s
    INNER JOIN history.prompts AS p ON p.prompt_id = s.prompt_id AND p.round = s.round AND p.split = 'train'
    WHERE s.round >= 0
    GROUP BY CASE $by WHEN 'topic' THEN p.topic WHEN 'task' THEN p.task ELSE s.prompt_id END, s.round
),

newest AS (
    SELECT
        item,
        wrong / trials AS fail_rate
    FROM tried
    QUALIFY row_number() OVER (PARTITION BY item ORDER BY round DESC) = 1
),

span AS (
    SELECT
        min(difficulty) AS easiest,
        nullif(max(difficulty) - min(difficulty), 0) AS width
    FROM asked
),

rates AS (
    SELECT
        asked.prompt_id,
        CASE WHEN $by = 'difficulty' THEN (asked.difficulty - span.easiest) / span.width ELSE newest.fail_rate END AS fail_rate
    FROM asked
    CROSS JOIN span
    LEFT JOIN newest ON newest.item = asked.item
),

weighed AS (
    SELECT
        list(prompt_id ORDER BY prompt_id) AS prompt_ids,
        list(fail_rate ORDER BY prompt_id) AS fail_rates,
        -- never 0: where all others are full, what is left goes to the easy ones
        list(greatest(0.001, round(pow(coalesce(fail_rate, $unseen::DOUBLE), $power::DOUBLE), 3)) ORDER BY prompt_id) AS weights,
        count(prompt_id) AS n,
        coalesce($total::BIGINT, round($samples::DOUBLE * count(prompt_id))::BIGINT) AS total
    FROM rates
),

shared AS (
    SELECT
        unnest(prompt_ids) AS prompt_id,
        unnest(fail_rates) AS fail_rate,
        unnest(CASE
            WHEN total BETWEEN n * $least::BIGINT AND n * $most::BIGINT
                THEN allocate(weights, list_transform(weights, lambda w: $most::BIGINT - $least::BIGINT), total - n * $least::BIGINT)
            ELSE error(format('{} answers to {} prompts: expected {} to {} a prompt', total, n, $least::BIGINT, $most::BIGINT))
        END) AS extra
    FROM weighed
)

SELECT
    CASE
        WHEN $key IN ('samples', 'cap') THEN $key
        ELSE error(format('key: expected samples or cap, found {:s}', $key))
    END AS key,
    prompt_id AS item_id,
    ($least::BIGINT + extra)::BIGINT AS value,
    CASE WHEN fail_rate IS NULL THEN 'nothing is known' ELSE format('fail rate {:.3f}', fail_rate) END AS reason
FROM shared
ORDER BY item_id
