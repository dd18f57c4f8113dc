-- DART-Prop2Diff: hard prompts are to get more right answers, in proportion to how often the policy fails them in `calibrate`;
-- the hardest gets $right, none less than 1. For generate.plan with generate.until.
--   $right = 192   right answers of the hardest prompt (k_p)
--   $bar = 1.0     score from which an answer is right
--   $unseen = 1.0  fail rate that stands for prompts that were not calibrated, in thousandths
-- The calibration has a fixed number of trials, so wrong / trials is an unbiased fail rate. Whole numbers throughout: a target
-- that is whole already is not rounded up. Source: Tong et al., "DART-Math", arXiv 2407.13690, and its README (round up).
WITH tried AS (
    SELECT
        prompt_id,
        count(generation_id) AS trials,
        count(generation_id) FILTER (WHERE coalesce(score < $bar, true)) AS wrong
    FROM calibrate.scored
    GROUP BY prompt_id
),

rates AS (
    SELECT
        prompts.prompt_id,
        tried.prompt_id IS NOT NULL AS seen,
        coalesce(tried.wrong, round($unseen::DOUBLE * 1000)::BIGINT) AS wrong,
        coalesce(tried.trials, 1000) AS trials
    FROM prompts
    LEFT JOIN tried ON tried.prompt_id = prompts.prompt_id
),

hardest AS (
    SELECT arg_max({'wrong': wrong, 'trials': trials}, wrong / trials) AS rate
    FROM rates
)

SELECT
    'right' AS key,
    rates.prompt_id AS item_id,
    CASE
        WHEN hardest.rate.wrong = 0 THEN 1
        ELSE greatest(
            1,
            ($right::BIGINT * rates.wrong * hardest.rate.trials + rates.trials * hardest.rate.wrong - 1)
            // (rates.trials * hardest.rate.wrong)
        )
    END AS value,
    CASE WHEN rates.seen THEN format('{} of {} wrong', rates.wrong, rates.trials) ELSE 'not calibrated' END AS reason
FROM rates
CROSS JOIN hardest
