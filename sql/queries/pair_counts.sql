-- Prompts with and without a pair, by round, and why they have none: no answer, no score, one scored answer, a tie (all right or none
-- right: by $bar), or different scores that the round's SQL did not pair. pairs: fresh ones; share: of the round's prompts. Few
-- paired prompts (under 0.4) say that the scores no longer tell the answers apart.
--   $experiment = null   one experiment; null: all
--   $role = "policy"     the model that the pairs train
--   $scorer = "score"    the score that pairs the answers
--   $bar = 1.0           score from which an answer is right
WITH asked AS (
    SELECT p.experiment, p.round, p.prompt_id
    FROM lake.prompts AS p
    WHERE p.part = 'train'
        AND ($experiment::VARCHAR IS NULL OR p.experiment = $experiment)
        AND EXISTS (SELECT 1 FROM lake.pairs AS r WHERE r.experiment = p.experiment AND r.round = p.round AND r.part = $role)
),

paired AS (
    SELECT experiment, round, prompt_id, count(row_id) AS pairs
    FROM lake.pairs
    WHERE part = $role AND source_round = round
    GROUP BY experiment, round, prompt_id
),

answered AS (
    SELECT
        g.experiment,
        g.round,
        g.prompt_id,
        count(g.generation_id) AS answers,
        count(s.value) AS scored,
        min(s.value) AS lowest,
        max(s.value) AS highest
    FROM lake.generations AS g
    LEFT JOIN lake.scores AS s
        ON s.experiment = g.experiment
            AND s.round = g.round
            AND s.part = 'rollout/' || $scorer
            AND s.item_id = g.generation_id
            AND s.segment IS NULL
    WHERE g.part = 'rollout'
    GROUP BY g.experiment, g.round, g.prompt_id
),

judged AS (
    SELECT
        asked.experiment,
        asked.round,
        coalesce(paired.pairs, 0) AS pairs,
        CASE
            WHEN paired.pairs > 0 THEN 'paired'
            WHEN answered.answers IS NULL THEN 'no answer'
            WHEN answered.scored = 0 THEN 'no score'
            WHEN answered.scored = 1 THEN 'one scored answer'
            WHEN answered.lowest < answered.highest THEN 'not paired by the SQL'
            WHEN answered.highest >= $bar THEN 'tie, all right'
            ELSE 'tie, none right'
        END AS why
    FROM asked
    LEFT JOIN paired ON paired.experiment = asked.experiment AND paired.round = asked.round AND paired.prompt_id = asked.prompt_id
    LEFT JOIN answered
        ON answered.experiment = asked.experiment AND answered.round = asked.round AND answered.prompt_id = asked.prompt_id
)

SELECT
    experiment,
    round,
    why,
    count(why) AS prompts,
    count(why) / sum(count(why)) OVER (PARTITION BY experiment, round) AS share,
    sum(pairs)::BIGINT AS pairs
FROM judged
GROUP BY experiment, round, why
ORDER BY experiment, round, why
