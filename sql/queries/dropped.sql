-- Prompts that hygiene left out, by rule and evaluation set: how many (as of the newest round that looked), and examples with
-- the prompt that stayed in their place or the evaluation item that they hold (twin_id).
--   $experiment = null  one experiment; null: all
--   $rule = null        one rule, such as "near"; null: all
--   $examples = 3       rows of each rule
WITH newest AS (
    SELECT *
    FROM lake.prompts_dropped
    WHERE $experiment::VARCHAR IS NULL OR experiment = $experiment
    QUALIFY round = max(round) OVER (PARTITION BY experiment)
)

SELECT
    experiment,
    round,
    rule,
    suite,
    count(prompt_id) OVER (PARTITION BY experiment, rule, suite) AS prompts,
    prompt_id,
    twin_id,
    value,
    reason,
    source
FROM newest
WHERE $rule::VARCHAR IS NULL OR rule = $rule
QUALIFY row_number() OVER (PARTITION BY experiment, rule, suite ORDER BY value DESC NULLS LAST, prompt_id) <= $examples
ORDER BY experiment, rule, suite NULLS FIRST, value DESC NULLS LAST, prompt_id
