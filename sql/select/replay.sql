-- Fresh rows and rows of earlier rounds again: the best answer of every prompt, and so many old rows that they are a given share
-- of all. An old row keeps its source_round and gets the origin 'replay'.
--   $fraction = 0.25        share of replayed rows among all rows, rounded; at most as many as there are
--   $weights = "uniform"    which old rows: uniform; power_law: recent ones, age ** -$beta; forgotten: those that a power law of
--                           forgetting has lost, 1 - (1 + age) ** -$beta; age: rounds since the row last trained
--   $beta = 1.0             of power_law and forgotten
--   $buffer = null          old rows that may be replayed: a reservoir of so many, drawn uniformly from all rows ever trained;
--                           null: all of them
--   $base = false           also rows that the base was trained on (round -1)
--   $top = 1                fresh answers kept for each prompt: those with the highest score, ties to the earlier sample
--   $min_score = 1.0        a fresh answer below it is never kept
-- Source: replay in continual pre-training, arXiv 2508.01908 (a fraction of each batch comes from a buffer); the reservoir is
-- Vitter's, as the rows with the smallest fixed draws, so a round keeps the buffer of the round before where it can.
WITH fresh AS (
    SELECT
        prompt_id,
        generation_id,
        score,
        row_number() OVER best AS rank
    FROM scored
    WHERE score >= $min_score
    WINDOW best AS (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id)
    QUALIFY rank <= $top
),

trained AS (
    SELECT
        row_id,
        prompt_id,
        generation_id,
        weight,
        label,
        cluster_id,
        round,
        source_round,
        max(round) OVER (PARTITION BY prompt_id, coalesce(generation_id, md5(messages::VARCHAR)), source_round) AS last_round
    FROM history.selected
    WHERE source_round >= 0 OR $base::BOOLEAN
),

seen AS (
    SELECT
        row_id,
        round,
        $round - last_round AS age
    FROM trained
    WHERE round = source_round
    QUALIFY row_number() OVER (ORDER BY draw('reservoir', row_id), row_id) <= coalesce($buffer::BIGINT, count(row_id) OVER ())
),

weighed AS (
    SELECT
        row_id,
        round,
        age,
        CASE $weights
            WHEN 'uniform' THEN 1.0::DOUBLE
            WHEN 'power_law' THEN power_law(age, $beta)
            WHEN 'forgotten' THEN forgotten(age, $beta)
            ELSE error(format('weights: expected uniform, power_law or forgotten, found {}', $weights))::DOUBLE
        END AS chance
    FROM seen
),

replayed AS (
    SELECT
        row_id,
        round,
        age
    FROM weighed
    QUALIFY
        row_number() OVER (ORDER BY sampling_key($seed, row_id, chance), row_id)
        <= round((SELECT count(generation_id) FROM fresh) * $fraction::DOUBLE / (1.0 - $fraction::DOUBLE))
)

SELECT
    prompt_id,
    generation_id,
    NULL AS messages,
    1.0::DOUBLE AS weight,
    NULL AS label,
    NULL AS cluster_id,
    rank,
    'generation' AS origin,
    $round::INTEGER AS source_round,
    format('score {:g}', score) AS reason
FROM fresh
UNION ALL
SELECT
    s.prompt_id,
    s.generation_id,
    s.messages,
    s.weight,
    s.label,
    s.cluster_id,
    NULL AS rank,
    'replay' AS origin,
    s.source_round,
    format('replayed, last trained {} rounds ago', r.age) AS reason
FROM replayed AS r
INNER JOIN history.selected AS s ON s.row_id = r.row_id AND s.round = r.round
