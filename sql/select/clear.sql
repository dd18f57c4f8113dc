-- CLEAR: prompts whose gold answer the model is confident of train with it (auto-filter); where the policy's own answer is judged
-- better, it takes the gold answer's place (auto-correct). `label` says which target trains: gold or candidate.
--   $gamma = null        gold answers with a lower confidence are dropped; null: the median over the round's prompts
--   $correct = true      whether candidates may take the place of gold answers; the paper filters in its first round alone
--   $eta = 0.8           a candidate needs a higher confidence than this
--   $judge = "model"     model: the measure `beats_gold`; score: the first answer of a prompt, where its score is at least
--                        $min_score (the spec's verifiers are the judge, and $eta is not used)
--   $min_score = 1.0
--   $confidence = "confidence"  name of the measure `confidence`, with of: gold
--   $duel = "beats_gold"  name of the measure `beats_gold`
--   $gold = null         JSON path in prompts.meta to the gold answer, as in both measures; null: prompts.reference
--   $gold_form = "{gold}"  text around the gold answer where it trains
-- A prompt without a confidence (too long to be asked about) trains only where a candidate wins.
-- Source: Chen and Mueller, "Automated Data Curation for Robust Language Model Fine-Tuning" (CLEAR), arXiv 2403.12776; the median
-- and eta are recalled, not read.
WITH confidences AS (
    SELECT prompt_id, max(value) AS confidence
    FROM scores
    WHERE scorer = $confidence AND value IS NOT NULL
    GROUP BY prompt_id
),

bar AS (
    SELECT coalesce($gamma::DOUBLE, median(confidence)) AS gamma FROM confidences
),

judged AS (
    SELECT own.item_id AS generation_id, own.prompt_id, own.value AS confidence
    FROM scores AS own
    INNER JOIN scores AS win ON win.item_id = own.item_id AND win.scorer = $duel || '_wins' AND win.value = 1
    WHERE $correct AND $judge = 'model' AND own.scorer = $duel AND own.value > $eta
    UNION ALL
    SELECT s.generation_id, s.prompt_id, s.score
    FROM (SELECT * FROM scored QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) = 1) AS s
    WHERE $correct
        AND s.score >= $min_score
        AND CASE $judge
            WHEN 'score' THEN true
            WHEN 'model' THEN false
            ELSE error(format('judge: expected model or score, found {}', $judge))::BOOLEAN
        END
),

candidates AS (
    SELECT prompt_id, generation_id, confidence
    FROM judged
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY confidence DESC, generation_id) = 1
)

SELECT
    p.prompt_id,
    c.generation_id,
    CASE
        WHEN c.generation_id IS NULL
            THEN demonstration(p.messages, gold_answer(p.prompt_id, p.meta, p.reference, $gold, $gold_form), 'gold')
    END AS messages,
    if(c.generation_id IS NULL, 'gold', 'candidate') AS label,
    if(c.generation_id IS NULL, 'gold', 'generation') AS origin,
    CASE
        WHEN c.generation_id IS NULL THEN format('gold: confidence {:.4f}, from {:.4f} on it is kept', f.confidence, bar.gamma)
        WHEN $judge = 'score' THEN format('candidate: score {:g}', c.confidence)
        ELSE format('candidate: better than gold in both orders, confidence {:.4f} > {:g}', c.confidence, $eta::DOUBLE)
    END AS reason
FROM prompts AS p
CROSS JOIN bar
LEFT JOIN candidates AS c ON c.prompt_id = p.prompt_id
LEFT JOIN confidences AS f ON f.prompt_id = p.prompt_id
WHERE p.split = 'train' AND (c.generation_id IS NOT NULL OR f.confidence >= bar.gamma)
