-- Whether the score that a loop optimises still says what a score that it never sees says: both by round, standardised by mean and
-- standard deviation of the first round that has both, and the gap between them. alarm: the proxy rose while gold fell, now and in the
-- round before.
--   $gold                a scorer that nothing trains on: a held-out reward model, tests, a judge
--   $proxy = "score"     the scorer that chooses what trains
--   $experiment = null   one experiment; null: all
--   $part = "rollout"    rollout or eval (which the base has too)
-- Source: Gao et al., "Scaling Laws for Reward Model Overoptimization", arXiv 2210.10760.
WITH both_ AS (
    SELECT p.experiment, p.round, p.item_id, p.value AS proxy, g.value AS gold
    FROM lake.scores AS p
    INNER JOIN lake.scores AS g
        ON g.experiment = p.experiment AND g.round = p.round AND g.item_id = p.item_id AND g.part = $part || '/' || $gold
    WHERE
        p.part = $part || '/' || $proxy
        AND p.value IS NOT NULL
        AND g.value IS NOT NULL
        AND p.segment IS NULL
        AND g.segment IS NULL
        AND ($experiment::VARCHAR IS NULL OR p.experiment = $experiment)
),

means AS (
    SELECT
        experiment,
        round,
        count(item_id) AS answers,
        fsum(proxy) / count(item_id) AS proxy,
        fsum(gold) / count(item_id) AS gold
    FROM both_
    GROUP BY experiment, round
),

firsts AS (
    SELECT *
    FROM means
    QUALIFY row_number() OVER (PARTITION BY experiment ORDER BY round) = 1
),

base AS (
    SELECT
        f.experiment,
        f.proxy,
        f.gold,
        sqrt(fsum((b.proxy - f.proxy) ** 2) / max(f.answers)) AS proxy_sd,
        sqrt(fsum((b.gold - f.gold) ** 2) / max(f.answers)) AS gold_sd
    FROM firsts AS f
    INNER JOIN both_ AS b ON b.experiment = f.experiment AND b.round = f.round
    GROUP BY f.experiment, f.proxy, f.gold
),

standard AS (
    SELECT
        m.experiment,
        m.round,
        m.answers,
        m.proxy,
        m.gold,
        (m.proxy - base.proxy) / nullif(base.proxy_sd, 0) AS proxy_z,
        (m.gold - base.gold) / nullif(base.gold_sd, 0) AS gold_z,
        m.proxy > lag(m.proxy) OVER rounds_ AND m.gold < lag(m.gold) OVER rounds_ AS apart
    FROM means AS m
    INNER JOIN base ON base.experiment = m.experiment
    WINDOW rounds_ AS (PARTITION BY m.experiment ORDER BY m.round)
)

SELECT
    experiment,
    round,
    answers,
    proxy,
    gold,
    proxy_z,
    gold_z,
    proxy_z - gold_z AS gap,
    coalesce(apart AND lag(apart) OVER (PARTITION BY experiment ORDER BY round), false) AS alarm
FROM standard
ORDER BY experiment, round
