-- Judged comparisons from both sides: a row for each answer (item_id) and each answer that it was compared with (other_id), with the
-- probability that item_id is the better one. Where a pair was asked in both orders, the two together count.
WITH counted AS (
    SELECT *
    FROM preferences
    WHERE "order" IN ('both', 'forward')
    -- 'both' comes before 'forward'
    QUALIFY row_number() OVER (PARTITION BY experiment, round, part, prompt_id, left_id, right_id, judge ORDER BY "order") = 1
)

SELECT experiment, round, part, prompt_id, judge, left_id AS item_id, right_id AS other_id, probability, votes, verdict
FROM counted
UNION ALL
SELECT experiment, round, part, prompt_id, judge, right_id AS item_id, left_id AS other_id, 1.0::DOUBLE - probability AS probability, votes, verdict
FROM counted
