-- The winner of a knock-out between a prompt's answers against the loser of another, or against the first that the winner beat.
-- Sample 0 meets 1, 2 meets 3, then those that go on meet; an odd one out goes on; the earlier one goes on in a tie.
--   $judge               the judge of `preferences` (a name of `compare`), which must have compared all pairs that meet; where it
--                        was asked in both orders, the two together count
--   $rejected = "worst"  worst: the answer that goes on where always the worse one does (the first losers meet, and so on);
--                        first: the answer that the winner met first
-- probability: that the winner is better than the other, as the judge says where it compared the two. A prompt with one answer, or one
-- whose knock-outs end with the same answer (all are equal, or the judge goes round in circles), makes no pair.
-- Source: INPO (Zhang et al., arXiv 2407.00617), where a knock-out of 8 answers finds best and worst with O(K) comparisons.
WITH RECURSIVE entrants AS (
    SELECT
        generation_id,
        prompt_id,
        row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) - 1 AS slot
    FROM generations
),

matches AS (
    SELECT item_id, other_id, coalesce(probability, 0.5) AS probability
    FROM comparisons
    WHERE judge = $judge
),

stages AS (
    SELECT unnest(['best', 'worst']) AS seek, 0 AS stage, prompt_id, slot, generation_id
    FROM entrants
    UNION ALL
    SELECT
        a.seek,
        a.stage + 1 AS stage,
        a.prompt_id,
        a.slot // 2 AS slot,
        CASE
            WHEN b.generation_id IS NULL THEN a.generation_id
            WHEN m.item_id IS NULL
                THEN error(format('answers {} and {} meet, and {:s} did not compare them', a.generation_id, b.generation_id, $judge))
            WHEN if(a.seek = 'best', m.probability >= 0.5, m.probability <= 0.5) THEN a.generation_id
            ELSE b.generation_id
        END AS generation_id
    FROM stages AS a
    LEFT JOIN stages AS b ON b.seek = a.seek AND b.prompt_id = a.prompt_id AND b.slot = a.slot + 1
    LEFT JOIN matches AS m ON m.item_id = a.generation_id AND m.other_id = b.generation_id
    WHERE a.slot % 2 = 0 AND (a.slot > 0 OR b.generation_id IS NOT NULL)
),

ends AS (
    SELECT
        prompt_id,
        arg_max(generation_id, stage) FILTER (WHERE seek = 'best') AS best,
        arg_max(generation_id, stage) FILTER (WHERE seek = 'worst') AS worst
    FROM stages
    GROUP BY prompt_id
),

first_met AS (
    SELECT own.prompt_id, other.generation_id
    FROM ends
    INNER JOIN stages AS own ON own.prompt_id = ends.prompt_id AND own.generation_id = ends.best AND own.seek = 'best'
    INNER JOIN stages AS other
        ON other.seek = 'best'
            AND other.prompt_id = own.prompt_id
            AND other.stage = own.stage
            AND other.slot = xor(own.slot, 1)
    QUALIFY row_number() OVER (PARTITION BY own.prompt_id ORDER BY own.stage) = 1
),

paired AS (
    SELECT ends.prompt_id, ends.best AS chosen_id, CASE $rejected
        WHEN 'worst' THEN ends.worst
        WHEN 'first' THEN first_met.generation_id
        ELSE error(format('rejected: expected worst or first, found {:s}', $rejected))
    END AS rejected_id
    FROM ends
    LEFT JOIN first_met ON first_met.prompt_id = ends.prompt_id
)

SELECT
    paired.prompt_id,
    paired.chosen_id,
    paired.rejected_id,
    m.probability,
    format('knock-out by {:s}', $judge) AS reason
FROM paired
LEFT JOIN matches AS m ON m.item_id = paired.chosen_id AND m.other_id = paired.rejected_id
WHERE paired.rejected_id <> paired.chosen_id
