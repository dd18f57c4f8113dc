-- How far an answer gets in a knock-out of its prompt's answers: the matches that it survives, byes included; the champion has the
-- most. Sample 0 meets 1, 2 meets 3, then the winners meet; an odd one out goes on; the earlier one wins a tie.
--   $judge           the judge of `preferences` (a name of `compare`), which must have compared all pairs that meet
--   $seek = "best"   best: the better one goes on; worst: the worse one does
-- Source: the choice of best and worst of K answers in INPO (Zhang et al., arXiv 2407.00617), which needs K - 1 matches for each.
WITH RECURSIVE entrants AS (
    SELECT
        generation_id,
        prompt_id,
        row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) - 1 AS slot
    FROM generations
),

matches AS (
    SELECT item_id, other_id, CASE $seek
        WHEN 'best' THEN coalesce(probability, 0.5)
        WHEN 'worst' THEN 1.0::DOUBLE - coalesce(probability, 0.5)
        ELSE error(format('seek: expected best or worst, found {}', $seek))::DOUBLE
    END AS chance
    FROM comparisons
    WHERE judge = $judge
),

stages AS (
    SELECT 0 AS stage, prompt_id, slot, generation_id
    FROM entrants
    UNION ALL
    SELECT
        a.stage + 1 AS stage,
        a.prompt_id,
        a.slot // 2 AS slot,
        CASE
            WHEN b.generation_id IS NULL THEN a.generation_id
            WHEN m.item_id IS NULL
                THEN error(format('answers {} and {} meet, and the judge {:s} did not compare them', a.generation_id, b.generation_id, $judge))
            WHEN m.chance >= 0.5 THEN a.generation_id
            ELSE b.generation_id
        END AS generation_id
    FROM stages AS a
    LEFT JOIN stages AS b ON b.prompt_id = a.prompt_id AND b.slot = a.slot + 1
    LEFT JOIN matches AS m ON m.item_id = a.generation_id AND m.other_id = b.generation_id
    WHERE a.slot % 2 = 0 AND (a.slot > 0 OR b.generation_id IS NOT NULL)
)

SELECT generation_id AS item_id, max(stage) AS value
FROM stages
GROUP BY generation_id
