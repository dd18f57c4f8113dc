-- Weights of topics for prompts.mix by the topics' losses and a graph of which topic helps which: weight i is proportional to
-- prior i x exp($eta x sum over j of A[i, j] x loss j), the losses of the last $window rounds added. It starts from the prior in
-- every round. In the first round every loss counts as 1.
--   $edges = []           the graph A: a list of {from, to, weight}; a topic helps itself by 1 where the list does not say.
--                         A topic that is not measured takes part where $edges or $prior name it
--   $prior = []           a list of {item, weight}; a topic that is not in it has 1
--   $eta = 0.5            how strongly losses count
--   $window = 3           rounds whose losses are added
--   $aggregate = "sum"    sum of the window's losses, or mean
--   $metric = "pass@1"    the metric of `evaluate` that gives the loss
--   $suite = "gate"       the held-out split it is measured on
--   $loss = "complement"  complement: loss is 1 - metric; metric: the metric is a loss itself
--   $normalize = false    divide a topic's losses by its loss before round 0 (which then has to be above 0)
-- Source: Chen et al., "Skill-it!", arXiv 2307.14430 (code: HazyResearch/skill-it), where a skill is a topic here; edges by
-- trial runs as in the paper are max(0, (loss of j alone - loss of i and j) / loss of j alone).
WITH measured AS (
    SELECT
        topic,
        round,
        CASE $loss
            WHEN 'complement' THEN 1.0 - value
            WHEN 'metric' THEN value
            ELSE error(format('loss: expected complement or metric, found {}', $loss))::DOUBLE
        END AS loss
    FROM history.evaluations
    WHERE suite = $suite AND metric = $metric AND topic IS NOT NULL AND value IS NOT NULL
),

scaled AS (
    SELECT
        m.topic,
        m.round,
        CASE
            WHEN NOT $normalize::BOOLEAN THEN m.loss
            WHEN b.loss > 0 THEN m.loss / b.loss
            ELSE error(format('topic {:s} has no loss above 0 before round 0 to divide by', m.topic))::DOUBLE
        END AS loss
    FROM measured AS m
    LEFT JOIN measured AS b ON b.topic = m.topic AND b.round = -1
),

losses AS (
    SELECT
        topic,
        CASE
            WHEN $round = 0 THEN 1.0::DOUBLE
            WHEN $aggregate = 'sum' THEN fsum(loss)
            WHEN $aggregate = 'mean' THEN fsum(loss) / count(loss)
            ELSE error(format('aggregate: expected sum or mean, found {}', $aggregate))::DOUBLE
        END AS loss
    FROM scaled
    WHERE $round = 0 OR (round >= 0 AND round >= $round - $window AND round < $round)
    GROUP BY topic
),

given AS (
    SELECT unnest(from_json(to_json($edges), '[{"from": "VARCHAR", "to": "VARCHAR", "weight": "DOUBLE"}]'), recursive := true)
),

edges AS (
    SELECT
        "from" AS helper,
        "to" AS topic,
        weight
    FROM given
    UNION ALL
    SELECT
        topic AS helper,
        topic,
        1.0::DOUBLE AS weight
    FROM losses
    WHERE topic NOT IN (SELECT given."from" FROM given WHERE given."from" = given."to")
),

priors AS (
    SELECT unnest(from_json(to_json($prior), '[{"item": "VARCHAR", "weight": "DOUBLE"}]'), recursive := true)
),

exponents AS (
    SELECT
        h.helper,
        coalesce(any_value(p.weight), 1.0) AS prior,
        $eta::DOUBLE * coalesce(fsum(e.weight * l.loss), 0.0) AS exponent
    FROM (SELECT edges.helper FROM edges UNION SELECT priors.item FROM priors) AS h
    LEFT JOIN edges AS e ON e.helper = h.helper
    LEFT JOIN losses AS l ON l.topic = e.topic
    LEFT JOIN priors AS p ON p.item = h.helper
    GROUP BY h.helper
),

weights AS (
    SELECT
        list(helper ORDER BY helper) AS helpers,
        shares(list_transform(
            list_zip(list(prior ORDER BY helper), list(exponent ORDER BY helper)),
            lambda one: one[1] * exp(one[2] - list_max(list(exponent ORDER BY helper)))
        )) AS weights,
        list(exponent ORDER BY helper) AS exponents
    FROM exponents
)

SELECT
    'weight' AS key,
    unnest(
        CASE
            WHEN (SELECT count(measured.topic) FROM measured) = 0
                THEN error(format('no {:s} by topic on the split {:s} was measured: see prompts.fields.topic, prompts.gate, evaluate', $metric, $suite))
            ELSE helpers
        END
    ) AS item_id,
    unnest(weights) AS value,
    unnest(list_transform(exponents, lambda e: format('exponent {:.4f}', e))) AS reason
FROM weights
ORDER BY item_id
