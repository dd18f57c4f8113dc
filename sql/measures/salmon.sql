-- SALMON: the share of an answer's comparisons that it wins under principles drawn for each of them; null where none is decided.
-- A comparison draws some principles, turns about half of them round, and is decided by the one with the largest absolute score; the
-- answer that it prefers wins. With two answers a prompt the value is the label: 1 preferred, 0 not.
--   $judge = "judge"   a comparer with principles (prompt: principle, criteria_file), asked in both orders
--   $share = 0.2       of the geometric distribution that the number of principles is drawn from
--   $most = 8          most principles
--   $negate = 0.5      chance that a principle is turned round
--   $flip = 0.1        chance that a label is turned round: noise that the reward model of the paper is trained with
-- The score of a principle is that of the macro salmon_score, with the variance of its margins in this round, over both orders; a
-- principle whose margins are all equal decides nothing. Equal scores: the principle that comes first by name.
-- Source: Sun et al., "SALMON" (arXiv 2310.05910), stage 2. Left out: its rules about "As an AI language model" and the prompt's language.
WITH margins AS (
    SELECT
        p.prompt_id,
        p.left_id,
        p.right_id,
        p."order",
        principle,
        CASE WHEN p."order" = 'forward' THEN 1 ELSE -1 END
        * json_extract(p.detail, '$."criteria"."' || principle || '"."margin"')::DOUBLE AS margin
    FROM preferences AS p, unnest(json_keys(p.detail, '$.criteria')) AS keys (principle)
    WHERE p.judge = $judge AND p."order" IN ('forward', 'swapped')
),

means AS (
    -- in order: the last bit of a compensated sum depends on it
    SELECT principle, fsum(margin ORDER BY margin) / count(margin) AS mean, count(margin) AS n
    FROM margins
    WHERE margin IS NOT NULL
    GROUP BY principle
),

variances AS (
    SELECT m.principle, fsum((m.margin - means.mean) * (m.margin - means.mean) ORDER BY m.margin) / max(means.n) AS variance
    FROM margins AS m
    INNER JOIN means ON means.principle = m.principle
    WHERE m.margin IS NOT NULL
    GROUP BY m.principle
),

scores AS (
    SELECT
        f.prompt_id,
        f.left_id,
        f.right_id,
        f.principle,
        concat(f.left_id, '/', f.right_id) AS pair,
        salmon_score(f.margin, s.margin, v.variance) AS score
    FROM margins AS f
    INNER JOIN margins AS s
        ON s.left_id = f.left_id AND s.right_id = f.right_id AND s.principle = f.principle AND s."order" = 'swapped'
    INNER JOIN variances AS v ON v.principle = f.principle
    WHERE f."order" = 'forward'
),

drawn AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY pair ORDER BY draw($seed, concat('take/', pair, '/', principle)), principle) AS place,
        least($most::BIGINT, 1 + floor(ln(1 - draw($seed, concat('count/', pair))) / ln(1 - $share::DOUBLE)))::BIGINT AS taken,
        CASE WHEN draw($seed, concat('negate/', pair, '/', principle)) < $negate::DOUBLE THEN -1 ELSE 1 END AS side
    FROM scores
),

dominant AS (
    SELECT
        *,
        side * score AS label
    FROM drawn
    WHERE place <= taken AND score IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY pair ORDER BY abs(score) DESC, principle) = 1
),

labels AS (
    SELECT
        *,
        (label > 0) <> (draw($seed, concat('flip/', pair)) < $flip::DOUBLE) AS is_left
    FROM dominant
    WHERE label <> 0
),

sides AS (
    SELECT left_id AS item_id, is_left AS has_won, principle, side, score, pair FROM labels
    UNION ALL
    SELECT right_id AS item_id, NOT is_left AS has_won, principle, side, score, pair FROM labels
),

told AS (
    SELECT
        item_id,
        count(CASE WHEN has_won THEN 1 END)::DOUBLE / count(pair) AS value,
        string_agg(
            format(
                '{}{}: {:.6g}{}',
                CASE WHEN side < 0 THEN 'not ' ELSE '' END,
                principle,
                side * score,
                CASE WHEN has_won THEN ', won' ELSE ', lost' END
            ),
            '; ' ORDER BY pair
        ) AS detail
    FROM sides
    GROUP BY item_id
)

SELECT g.generation_id AS item_id, told.value, coalesce(told.detail, 'no comparison is decided') AS detail
FROM generations AS g
LEFT JOIN told ON told.item_id = g.generation_id
ORDER BY g.generation_id
