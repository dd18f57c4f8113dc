-- How often two scorers disagree on the same answer (one gives 1 or more, the other less), by round. Answers that one of them
-- could not score are counted apart.
--   $experiment = null  one experiment; null: all
--   $part = "rollout"   rollout or eval
WITH judged AS (
    SELECT experiment, round, item_id, scorer, value >= 1 AS approves
    FROM lake.scores
    WHERE scorer <> 'score' AND starts_with(part, $part || '/') AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
)

SELECT
    a.experiment,
    a.round,
    a.scorer AS first_scorer,
    b.scorer AS second_scorer,
    count(a.item_id) AS answers,
    count(a.item_id) FILTER (WHERE a.approves AND NOT b.approves) AS only_first,
    count(a.item_id) FILTER (WHERE b.approves AND NOT a.approves) AS only_second,
    count(a.item_id) FILTER (WHERE a.approves IS NULL OR b.approves IS NULL) AS without_score
FROM judged AS a
INNER JOIN judged AS b ON b.experiment = a.experiment AND b.round = a.round AND b.item_id = a.item_id AND b.scorer > a.scorer
GROUP BY ALL
ORDER BY a.experiment, a.round, first_scorer, second_scorer
