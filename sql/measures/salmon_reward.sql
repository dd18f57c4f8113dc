-- The reward of SALMON's last stage: the mean of a reward model's numbers under several principles, with a bonus for longer answers,
-- less a penalty where an answer did not end by itself.
--   $scorers            names of measures, one a principle, a list
--   $multiplier = 1.0   of the length in the bonus
--   $longest = 1024     tokens that the bonus counts in
--   $weight = 5.0       of the bonus (macro length_bonus, which stops at 0.8 of it); 0: none
--   $penalty = 6.0      of an answer that did not end (macro stop_penalised)
-- Null where one of the numbers is missing.
-- Source: Sun et al. (SALMON), arXiv 2310.05910, and the trainer of its code, whose rewards list several principles in one text.
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
    SELECT
        generation_id,
        CASE WHEN count(value) = len($scorers::VARCHAR[]) THEN fsum(value ORDER BY scorer) / count(value) END AS mean
    FROM given
    GROUP BY generation_id
)

SELECT
    g.generation_id AS item_id,
    stop_penalised(
        m.mean + length_bonus(g.response_tokens, multiplier := $multiplier, longest := $longest, weight := $weight),
        g.finish_reason,
        $penalty
    ) AS value,
    CASE
        WHEN m.mean IS NULL THEN 'a number is missing'
        ELSE format('mean {:g}, {} tokens, {:s}', m.mean, g.response_tokens, g.finish_reason)
    END AS detail
FROM generations AS g
LEFT JOIN means AS m ON m.generation_id = g.generation_id
