-- What a pairwise judge owes to the order in which it sees two answers, by round: the share of pairs whose winner changes when
-- they are swapped, and how often the answer in the first place wins (half of the time, if places do not matter).
--   $experiment = null  one experiment; null: all
-- flips: the two orders name different winners; to_tie: one order names a winner, the other none; unread: no probability.
WITH asked AS (
    SELECT
        experiment,
        round,
        judge,
        prompt_id,
        left_id,
        right_id,
        "order",
        probability,
        if("order" = 'forward', probability, 1 - probability) AS first_probability
    FROM lake.preferences
    WHERE "order" IN ('forward', 'swapped') AND value IS NULL AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
),

places AS (
    SELECT
        experiment,
        round,
        judge,
        count(*) AS judgements,
        count(*) FILTER (WHERE probability IS NULL) AS unread,
        count(*) FILTER (WHERE probability = 0.5) AS ties,
        count(*) FILTER (WHERE first_probability > 0.5) / nullif(count(*) FILTER (WHERE probability <> 0.5), 0) AS first_wins,
        fsum(first_probability ORDER BY left_id, right_id, "order") / count(probability) AS first_probability
    FROM asked
    GROUP BY experiment, round, judge
),

pairs AS (
    SELECT
        f.experiment,
        f.round,
        f.judge,
        count(*) AS pairs,
        count(*) FILTER (WHERE (f.probability - 0.5) * (s.probability - 0.5) < 0) AS flips,
        count(*) FILTER (WHERE (f.probability = 0.5) <> (s.probability = 0.5)) AS to_tie
    FROM asked AS f
    INNER JOIN asked AS s
        ON s.experiment = f.experiment AND s.round = f.round AND s.judge = f.judge AND s.prompt_id = f.prompt_id
        AND s.left_id = f.left_id AND s.right_id = f.right_id
    WHERE f."order" = 'forward' AND s."order" = 'swapped' AND f.probability IS NOT NULL AND s.probability IS NOT NULL
    GROUP BY f.experiment, f.round, f.judge
)

SELECT
    places.*,
    pairs.pairs,
    pairs.flips,
    pairs.to_tie,
    pairs.flips / pairs.pairs AS flip_rate
FROM places
LEFT JOIN pairs ON pairs.experiment = places.experiment AND pairs.round = places.round AND pairs.judge = places.judge
ORDER BY places.experiment, places.round, places.judge
