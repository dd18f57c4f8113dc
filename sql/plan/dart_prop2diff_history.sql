-- DART-Prop2Diff without a calibration: fail rates come from the last earlier round that asked the prompt. Otherwise as
-- plan/dart_prop2diff.sql.
--   $right = 192      right answers of the hardest prompt (k_p)
--   $bar = 1.0        score from which an answer is right
--   $unseen = 1.0     fail rate that stands for prompts that no earlier round asked, in thousandths
--   $unbiased = true  correct for sampling that stopped at the n-th right answer; false: wrong / trials, as the paper does
--   $stopped = null   that n, where the earlier round's plan does not say it (key `right`)
-- Sampling until the n-th success makes n / trials too large; (n - 1) / (t - 1) is unbiased, with t the trial of the n-th success
-- (negative binomial; Haldane, "On a Method of Estimating Frequencies", Biometrika 1945). It is used where n is 2 or more and was
-- reached. Source of the targets: Tong et al., "DART-Math", arXiv 2407.13690.
WITH last_round AS (
    SELECT prompt_id, max(round) AS round
    FROM history.scored
    WHERE round >= 0
    GROUP BY prompt_id
),

planned AS (
    SELECT round, item_id, min(value::BIGINT) AS n
    FROM history.plan
    WHERE key = 'right'
    GROUP BY round, item_id
),

stops AS (
    SELECT last_round.prompt_id, last_round.round, coalesce(own.n, every.n, $stopped::BIGINT) AS n
    FROM last_round
    LEFT JOIN planned AS own ON own.round = last_round.round AND own.item_id = last_round.prompt_id
    LEFT JOIN planned AS every ON every.round = last_round.round AND every.item_id IS NULL
),

trials AS (
    SELECT
        s.prompt_id,
        stops.n,
        s.sample,
        coalesce(s.score >= $bar, false) AS is_right,
        count(s.generation_id) FILTER (WHERE s.score >= $bar) OVER (PARTITION BY s.prompt_id ORDER BY s.sample, s.generation_id) AS so_far
    FROM history.scored AS s
    INNER JOIN stops ON stops.prompt_id = s.prompt_id AND stops.round = s.round
),

counted AS (
    SELECT
        prompt_id,
        any_value(n) AS n,
        count(sample) AS trials,
        count(sample) FILTER (WHERE NOT is_right) AS wrong,
        min(sample) FILTER (WHERE is_right AND so_far = n) + 1 AS stopped
    FROM trials
    GROUP BY prompt_id
),

tried AS (
    SELECT
        prompt_id,
        CASE WHEN $unbiased AND n >= 2 AND stopped IS NOT NULL THEN stopped - n ELSE wrong END AS wrong,
        CASE WHEN $unbiased AND n >= 2 AND stopped IS NOT NULL THEN stopped - 1 ELSE trials END AS trials
    FROM counted
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
    CASE WHEN rates.seen THEN format('fail rate {}/{}', rates.wrong, rates.trials) ELSE 'not asked before' END AS reason
FROM rates
CROSS JOIN hardest
