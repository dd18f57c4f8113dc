-- As many right answers of each prompt as the plan wants (key `right`), in the order of the trials or by lot.
--   $target = null     right answers of each prompt; null: the plan's; where there is neither, all of them train
--   $order = "trial"   trial: the first ones, as the paper's repository takes them; draw: by lot
--   $dedupe = false    count answers of equal text once
--   $min_score = 1.0   an answer below it is not right
-- Source: Tong et al., "DART-Math", arXiv 2407.13690, pipeline/curate.ipynb. Prompts that miss their target: queries/budgets.sql.
WITH planned AS (
    SELECT item_id, min(value::BIGINT) AS target
    FROM plan
    WHERE key = 'right'
    GROUP BY item_id
),

answers AS (
    SELECT
        prompt_id,
        generation_id,
        sample,
        CASE $order
            WHEN 'trial' THEN 0.0::DOUBLE
            WHEN 'draw' THEN draw($seed, generation_id)
            -- a failing cast carries the message
            ELSE format('order: expected trial or draw, found {}', $order)::DOUBLE
        END AS place
    FROM scored
    WHERE score >= $min_score
    QUALIFY NOT $dedupe OR row_number() OVER (PARTITION BY prompt_id, content_id ORDER BY sample, generation_id) = 1
),

ranked AS (
    SELECT
        answers.prompt_id,
        answers.generation_id,
        coalesce($target::BIGINT, own.target, every.target) AS target,
        row_number() OVER (PARTITION BY answers.prompt_id ORDER BY answers.place, answers.sample, answers.generation_id) AS rank
    FROM answers
    LEFT JOIN planned AS own ON own.item_id = answers.prompt_id
    LEFT JOIN planned AS every ON every.item_id IS NULL
)

SELECT
    prompt_id,
    generation_id,
    rank,
    CASE WHEN target IS NULL THEN format('right answer {}', rank) ELSE format('right answer {} of {} wanted', rank, target) END AS reason
FROM ranked
WHERE target IS NULL OR rank <= target
