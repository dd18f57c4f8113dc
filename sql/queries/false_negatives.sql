-- What a verifier refuses and a person accepts: of the answers with each verdict, the share that people call right, estimated
-- from audited rows (`rondo audit`), each weighted by how many answers it stands for, with its Wilson interval. For `wrong` that
-- is the rate of false negatives; for `right` it is the verifier's precision.
--   $experiment = null   one experiment; null: all
--   $verdict = "wrong"   one verdict; null: all
--   $bar = 1             a label that is a number counts as right from here on
--   $z = 1.96            width of the interval in standard errors
-- answers: with this verdict in the round; covered: the share of them that the labelled strata stand for (far below 1: the
-- estimate is of those strata only); effective: labels that an unweighted sample of this precision would have.
-- Source: Wilson, JASA 22, 1927, with Kish's effective sample size (sum w)^2 / sum w^2.
WITH verdicts AS (
    SELECT experiment, round, left(part, length(part) - length(scorer) - 1) AS answers_of, scorer, verdict, item_id
    FROM lake.scores
    WHERE
        scorer <> 'human'
        AND verdict IS NOT NULL
        AND ($verdict::VARCHAR IS NULL OR verdict = $verdict)
        AND ($experiment::VARCHAR IS NULL OR experiment = $experiment)
),

totals AS (
    SELECT experiment, round, answers_of, scorer, verdict, count(*) AS answers
    FROM verdicts
    GROUP BY experiment, round, answers_of, scorer, verdict
),

labelled AS (
    SELECT v.*, l.audit, l.weight, if(coalesce(l.verdict = 'right', l.value >= $bar), 1, 0) AS accepted
    FROM verdicts AS v
    INNER JOIN lake.human_labels AS l
        ON l.experiment = v.experiment AND l.round = v.round AND l.answers_of = v.answers_of AND l.item_id = v.item_id
    -- a label is of a text: another text under the same id has none
    INNER JOIN lake.generations AS g
        ON g.experiment = l.experiment AND g.round = l.round AND g.part = l.answers_of AND g.generation_id = l.item_id
        AND g.content_id = l.content_id
),

audits AS (
    SELECT experiment, round, answers_of, scorer, verdict, audit, fsum(weight ORDER BY item_id) AS stands_for
    FROM labelled
    GROUP BY experiment, round, answers_of, scorer, verdict, audit
),

widest AS (
    SELECT experiment, round, answers_of, scorer, verdict, max(stands_for) AS stands_for
    FROM audits
    GROUP BY experiment, round, answers_of, scorer, verdict
),

estimated AS (
    SELECT
        experiment,
        round,
        answers_of,
        scorer,
        verdict,
        count(*) AS audited,
        sum(accepted)::BIGINT AS accepted,
        fsum(weight * accepted ORDER BY item_id) / fsum(weight ORDER BY item_id) AS share,
        fsum(weight ORDER BY item_id) * fsum(weight ORDER BY item_id) / fsum(weight * weight ORDER BY item_id) AS effective
    FROM labelled
    GROUP BY experiment, round, answers_of, scorer, verdict
)

SELECT
    e.experiment,
    e.round,
    e.answers_of,
    e.scorer,
    e.verdict,
    t.answers,
    e.audited,
    e.accepted,
    e.share,
    wilson(e.share, e.effective, $z).low AS low,
    wilson(e.share, e.effective, $z).high AS high,
    e.share * t.answers AS accepted_of_all,
    e.effective,
    least(1, w.stands_for / t.answers) AS covered
FROM estimated AS e
INNER JOIN totals AS t USING (experiment, round, answers_of, scorer, verdict)
INNER JOIN widest AS w USING (experiment, round, answers_of, scorer, verdict)
ORDER BY e.experiment, e.round, e.answers_of, e.scorer, e.verdict
