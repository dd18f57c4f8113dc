-- How often an answer beats the others of its prompt: the mean, over those that it was compared with, of the probability that it is
-- the better one. Null where it was compared with none, or no comparison has a probability.
--   $judge                the judge of `preferences` (a name of `compare`)
--   $include_self = true  count the answer against itself, as 0.5: then a prompt's values sum to K / 2 whatever the judge says
-- Source: include_self true: the win rate against the own mixture of SPPO (Wu et al., arXiv 2405.00675), w_i = 1/K sum_j P_ij with
-- j = i; false: the reward of SPO (Swamy et al., arXiv 2401.04056), r_i = 1/(K-1) sum_{j <> i} P_ij. Both compare all pairs; where
-- `compare` has SQL of its own the mean is over the pairs that it gives. Mean values say nothing across rounds: they are 0.5.
WITH judged AS (
    SELECT item_id, fsum(probability) AS won, count(probability) AS n
    FROM comparisons
    WHERE judge = $judge
    GROUP BY item_id
),

known AS (SELECT count(item_id) AS n FROM judged)

SELECT
    g.generation_id AS item_id,
    CASE
        WHEN known.n = 0
            THEN error(format('answer {}: there is no comparison by the judge {:s}', g.generation_id, $judge))::DOUBLE
        WHEN j.n > 0 AND $include_self::BOOLEAN THEN (j.won + 0.5::DOUBLE) / (j.n + 1)
        WHEN j.n > 0 THEN j.won / j.n
    END AS value,
    format('{} comparisons', coalesce(j.n, 0)) AS detail
FROM generations AS g
CROSS JOIN known
LEFT JOIN judged AS j ON j.item_id = g.generation_id
