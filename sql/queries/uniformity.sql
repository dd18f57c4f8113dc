-- How evenly a round's own rows spread over prompts, and how many of them are right: rows, prompts, uniformity (1 - standard
-- deviation / mean of the rows a prompt, over prompts with a row; 1 where all have the same number), accuracy.
--   $experiment = null  one experiment; null: all
--   $bar = 1.0          score from which a row is right
-- Source: the uniformity index and the accuracy of kept rows in the code of Zeng et al., "B-STaR", arXiv 2412.17256.
WITH counted AS (
    SELECT
        experiment,
        round,
        role,
        prompt_id,
        count(row_id) AS rows_,
        count(row_id) FILTER (WHERE score >= $bar) AS right_rows
    FROM lake.selected_rows
    WHERE source_round = round AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
    GROUP BY experiment, round, role, prompt_id
),

summed AS (
    SELECT
        experiment,
        round,
        role,
        sum(rows_)::BIGINT AS rows_,
        count(prompt_id) AS prompts,
        sum(rows_ * rows_)::BIGINT AS squares,
        sum(right_rows)::BIGINT AS right_rows
    FROM counted
    GROUP BY experiment, round, role
)

SELECT
    experiment,
    round,
    role,
    rows_ AS "rows",
    prompts,
    1.0::DOUBLE - sqrt(greatest(0, prompts * squares - rows_ * rows_)::DOUBLE) / rows_ AS uniformity,
    right_rows / rows_ AS accuracy
FROM summed
ORDER BY experiment, round, role
