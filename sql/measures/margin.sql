-- How far an answer's score is above another of its prompt, or below (negative). Null where one of the two is missing.
--   $scorer = "score"  the score
--   $to = "best"       best: the prompt's highest score (0 for the best answer itself); other: the highest score of its siblings;
--                      worst: the lowest score; mean: the mean score
WITH given AS (
    SELECT
        g.generation_id,
        g.prompt_id,
        g.sample,
        scored_value(s.item_id, s.value, g.generation_id, $scorer) AS score
    FROM generations AS g
    LEFT JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $scorer AND s.segment IS NULL
),

ends AS (
    SELECT
        prompt_id,
        list(score ORDER BY score DESC) AS scores_,
        fsum(score) / count(score) AS mean
    FROM given
    WHERE score IS NOT NULL
    GROUP BY prompt_id
)

SELECT
    given.generation_id AS item_id,
    given.score - CASE $to
        WHEN 'best' THEN ends.scores_[1]
        -- who has the highest score is beside the second highest, which may be as high
        WHEN 'other' THEN if(given.score = ends.scores_[1], ends.scores_[2], ends.scores_[1])
        WHEN 'worst' THEN ends.scores_[-1]
        WHEN 'mean' THEN ends.mean
        ELSE error(format('to: expected best, other, worst or mean, found {}', $to))::DOUBLE
    END AS value
FROM given
LEFT JOIN ends ON ends.prompt_id = given.prompt_id
