-- Signs that a loop goes wrong, a row for each round and sign that can be told from what was scored: the number, its limit, and whether
-- it is beyond. proxy_gold: rounds in a row, this one included, in which the proxy rose while gold fell; similarity: mean METEOR
-- similarity as a multiple of the first round's; chosen_logprob: change of the mean log-probability of what was chosen to train against
-- the round before; length: mean tokens as a multiple of the first round's; pair_rate: pairs a prompt that could give one.
--   $experiment = null                  one experiment; null: all
--   $proxy = "score"                    the scorer that chooses what trains
--   $gold = null                        a scorer that nothing trains on; null: proxy_gold is not looked at
--   $similarity = "meteor_similarity"   the measure's name
--   $logprob = "logprob"                the scorer of log-probabilities, sums over the answer
--   $role = "policy"                    the model that trains
-- Source: the limits are rules of thumb of the catalogue that Rondo's recipes come from: 2 rounds, +50%, a fall, +30%, 40%.
WITH rollouts AS (
    SELECT experiment, round, prompt_id, generation_id, response_tokens
    FROM lake.generations
    WHERE part = 'rollout' AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
),

means AS (
    SELECT s.experiment, s.round, s.scorer, fsum(s.value) / count(s.value) AS mean
    FROM lake.scores AS s
    WHERE
        s.part = 'rollout/' || s.scorer
        AND s.scorer IN ($proxy, $gold::VARCHAR, $similarity)
        AND s.value IS NOT NULL
        AND s.segment IS NULL
        AND ($experiment::VARCHAR IS NULL OR s.experiment = $experiment)
    GROUP BY s.experiment, s.round, s.scorer
),

moved AS (
    SELECT
        p.experiment,
        p.round,
        coalesce(p.mean > lag(p.mean) OVER before AND g.mean < lag(g.mean) OVER before, false) AS apart
    FROM means AS p
    INNER JOIN means AS g ON g.experiment = p.experiment AND g.round = p.round AND g.scorer = $gold::VARCHAR
    WHERE p.scorer = $proxy
    WINDOW before AS (PARTITION BY p.experiment ORDER BY p.round)
),

runs AS (
    SELECT *, count(round) FILTER (WHERE NOT apart) OVER (PARTITION BY experiment ORDER BY round) AS run
    FROM moved
),

lengths AS (
    SELECT experiment, round, fsum(response_tokens) / count(response_tokens) AS mean
    FROM rollouts
    WHERE response_tokens IS NOT NULL
    GROUP BY experiment, round
),

chosen AS (
    SELECT experiment, round, part AS role, generation_id
    FROM lake.selected
    WHERE source_round = round AND generation_id IS NOT NULL
    UNION
    SELECT experiment, round, part AS role, chosen_id AS generation_id
    FROM lake.pairs
    WHERE source_round = round AND chosen_id IS NOT NULL
),

chosen_means AS (
    SELECT s.experiment, s.round, fsum(s.value) / count(s.value) AS mean
    FROM chosen AS c
    INNER JOIN lake.scores AS s
        ON s.experiment = c.experiment AND s.round = c.round AND s.part = 'rollout/' || $logprob AND s.item_id = c.generation_id
    WHERE
        c.role = $role
        AND s.value IS NOT NULL
        AND s.segment IS NULL
        AND ($experiment::VARCHAR IS NULL OR s.experiment = $experiment)
    GROUP BY s.experiment, s.round
),

paired AS (
    SELECT experiment, round, count(DISTINCT prompt_id) AS prompts
    FROM lake.pairs
    WHERE part = $role AND source_round = round
    GROUP BY experiment, round
),

able AS (
    SELECT experiment, round, count(prompt_id) AS prompts
    FROM (SELECT experiment, round, prompt_id FROM rollouts GROUP BY ALL HAVING count(generation_id) > 1) AS several
    GROUP BY experiment, round
),

signs AS (
    SELECT
        experiment,
        round,
        'proxy_gold' AS warning,
        (count(round) FILTER (WHERE apart) OVER (PARTITION BY experiment, run ORDER BY round))::DOUBLE AS value,
        2.0::DOUBLE AS limit_
    FROM runs
    UNION ALL
    SELECT
        experiment,
        round,
        'similarity' AS warning,
        mean / nullif(first_value(mean) OVER (PARTITION BY experiment ORDER BY round), 0) AS value,
        1.5::DOUBLE AS limit_
    FROM means
    WHERE scorer = $similarity
    UNION ALL
    SELECT
        experiment,
        round,
        'chosen_logprob' AS warning,
        mean - lag(mean) OVER (PARTITION BY experiment ORDER BY round) AS value,
        0.0::DOUBLE AS limit_
    FROM chosen_means
    UNION ALL
    SELECT
        experiment,
        round,
        'length' AS warning,
        mean / nullif(first_value(mean) OVER (PARTITION BY experiment ORDER BY round), 0) AS value,
        1.3::DOUBLE AS limit_
    FROM lengths
    UNION ALL
    SELECT able.experiment, able.round, 'pair_rate' AS warning, paired.prompts / able.prompts AS value, 0.4::DOUBLE AS limit_
    FROM able
    INNER JOIN paired ON paired.experiment = able.experiment AND paired.round = able.round
)

SELECT
    experiment,
    round,
    warning,
    value,
    limit_ AS "limit",
    CASE warning
        WHEN 'chosen_logprob' THEN coalesce(value < limit_, false)
        WHEN 'pair_rate' THEN value < limit_
        ELSE coalesce(value >= limit_, false)
    END AS is_beyond
FROM signs
ORDER BY experiment, round, warning
