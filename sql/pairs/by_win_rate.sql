-- The answer of each prompt that wins most often against its siblings, as a judge compared them, against the one that wins least.
--   $judge                the judge of `preferences` (a name of `compare`)
--   $include_self = true  count an answer against itself, as 0.5: the win rate against the own mixture, whose sum over K answers is K / 2
--   $min_margin = 0.0     the win rates must differ by more than this
-- probability: that the chosen answer beats the rejected one, null where the two were not compared; extra: win_chosen and win_rejected,
-- the win rates, which are the targets of SPPO; margin: their difference. Equal win rates go to the earlier sample; an answer
-- without a comparison takes no part.
-- Source: Wu et al., "Self-Play Preference Optimization" (SPPO), arXiv 2405.00675, include_self true; the win rate of SPO (Swamy et
-- al., arXiv 2401.04056) leaves the answer itself out.
WITH met AS (
    SELECT prompt_id, item_id, other_id, probability
    FROM comparisons
    WHERE judge = $judge AND probability IS NOT NULL
),

rates AS (
    SELECT
        prompt_id,
        item_id,
        (fsum(probability ORDER BY other_id) + if($include_self::BOOLEAN, 0.5, 0.0)::DOUBLE)
        / (count(other_id) + if($include_self::BOOLEAN, 1, 0)) AS win
    FROM met
    GROUP BY prompt_id, item_id
),

ranked AS (
    SELECT
        r.*,
        row_number() OVER (PARTITION BY r.prompt_id ORDER BY r.win DESC, g.sample, r.item_id) AS best,
        row_number() OVER (PARTITION BY r.prompt_id ORDER BY r.win, g.sample, r.item_id) AS worst
    FROM rates AS r
    INNER JOIN generations AS g ON g.generation_id = r.item_id
)

SELECT
    w.prompt_id,
    w.item_id AS chosen_id,
    l.item_id AS rejected_id,
    w.win - l.win AS margin,
    met.probability,
    MAP {'win_chosen': w.win, 'win_rejected': l.win} AS extra,
    format('win rate {:.3f} against {:.3f}', w.win, l.win) AS reason
FROM ranked AS w
INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
LEFT JOIN met ON met.item_id = w.item_id AND met.other_id = l.item_id
WHERE w.best = 1 AND l.worst = 1 AND w.win - l.win > $min_margin
