-- How far an answer falls short of a target by several scorers together: minus the sum of hinge(number, target), 0 from the target on.
--   $scorers              names of scorers or measures, such as reward models, a list
--   $target = 2.0         what each number is drawn to, and no further
--   $scale = 0.001        factor of the sum
--   $standardise = true   numbers of each scorer less its mean in the round, over its standard deviation (population), so that one
--                         target fits all; a scorer that gives all answers the same number then gives 0
-- Null where one of the numbers is missing.
-- Source: Zhang et al., "IterComp" (arXiv 2410.07171), whose loss it is the negative of: 0.001 sum relu(2 - r_i) over three reward
-- models; rewards there are standardised beforehand, as those of ImageReward.
WITH given AS (
    SELECT
        g.generation_id,
        names.scorer,
        scored_value(s.item_id, s.value, g.generation_id, names.scorer) AS value
    FROM generations AS g
    CROSS JOIN (SELECT unnest($scorers::VARCHAR[]) AS scorer) AS names
    LEFT JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = names.scorer AND s.segment IS NULL
),

means AS (
    SELECT scorer, fsum(value ORDER BY value) / count(value) AS mean, count(value) AS n
    FROM given
    WHERE value IS NOT NULL
    GROUP BY scorer
),

spreads AS (
    SELECT
        g.scorer,
        m.mean,
        sqrt(fsum((g.value - m.mean) * (g.value - m.mean) ORDER BY g.value) / m.n) AS spread
    FROM given AS g
    INNER JOIN means AS m ON m.scorer = g.scorer
    WHERE g.value IS NOT NULL
    GROUP BY g.scorer, m.mean, m.n
),

short AS (
    SELECT
        g.generation_id,
        g.scorer,
        hinge(
            CASE
                WHEN NOT $standardise::BOOLEAN THEN g.value
                WHEN s.spread > 0 THEN (g.value - s.mean) / s.spread
                WHEN g.value IS NOT NULL THEN 0.0::DOUBLE
            END,
            $target
        ) AS lack
    FROM given AS g
    LEFT JOIN spreads AS s ON s.scorer = g.scorer
),

summed AS (
    SELECT
        generation_id,
        CASE WHEN count(lack) = len($scorers::VARCHAR[]) THEN 0.0::DOUBLE - $scale::DOUBLE * fsum(lack ORDER BY scorer) END AS value
    FROM short
    GROUP BY generation_id
)

SELECT
    g.generation_id AS item_id,
    summed.value,
    CASE WHEN summed.value IS NULL THEN 'a number is missing' END AS detail
FROM generations AS g
LEFT JOIN summed ON summed.generation_id = g.generation_id
