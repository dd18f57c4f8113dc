-- Pairs that teach a reranker: every passing answer of this round against every failing one, and from the round before the failing
-- answers that its reranker liked (hard negatives), each against the passing answers of its prompt.
--   $scorer = "score"    the score that says what passes
--   $past_scorer = "rm"  the reranker's numbers, a measure of the round before
--   $min_score = 1.0     score from which an answer passes
--   $above = null        a failing answer with at least this number is a hard negative; null: one that has a higher number than the
--                        best passing answer of its prompt, so that reranking would have taken it
--   $per_prompt = null   pairs of this round and prompt at most, drawn; null: all
--   $hard_weight = 1.0   weight of the pairs with a hard negative
-- Their source_round is the round that wrote them, their origin replay. With `data: cumulative` such a pair is already there from its own
-- round and is not there twice: this file's row takes its place, so $hard_weight 2 counts it double.
-- Source: the self-training reranker of arXiv 2504.09643. A prompt whose answers all pass or all fail makes no pair.
WITH passed AS (
    SELECT prompt_id, generation_id, value >= $min_score AS passes
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
),

fresh AS (
    SELECT
        w.prompt_id,
        w.generation_id AS chosen_id,
        l.generation_id AS rejected_id
    FROM passed AS w
    INNER JOIN passed AS l ON l.prompt_id = w.prompt_id
    WHERE w.passes AND NOT l.passes
    QUALIFY $per_prompt::BIGINT IS NULL OR row_number() OVER (
        PARTITION BY w.prompt_id
        ORDER BY draw($seed, concat(w.generation_id, '/', l.generation_id)), w.generation_id, l.generation_id
    ) <= $per_prompt
),

earlier AS (
    SELECT
        g.prompt_id,
        g.generation_id,
        g.messages,
        g.response,
        g.actor,
        s.value >= $min_score AS passes,
        r.value AS liked
    FROM history.generations AS g
    INNER JOIN history.scores AS s
        ON
            s.round = g.round
            AND s.item_id = g.generation_id
            AND s.scorer = $scorer
            AND s.part = 'rollout/' || $scorer
            AND s.value IS NOT NULL
    INNER JOIN history.scores AS r
        ON
            r.round = g.round
            AND r.item_id = g.generation_id
            AND r.scorer = $past_scorer
            AND r.part = 'rollout/' || $past_scorer
            AND r.value IS NOT NULL
    WHERE g.part = 'rollout' AND g.round = $round - 1
),

bars AS (
    SELECT prompt_id, coalesce($above::DOUBLE, nextafter(max(liked) FILTER (WHERE passes), 'infinity'::DOUBLE)) AS bar
    FROM earlier
    GROUP BY prompt_id
),

hard AS (
    SELECT
        w.prompt_id,
        w.generation_id AS chosen_id,
        l.generation_id AS rejected_id,
        [{'role': 'assistant', 'content': w.response, 'origin': w.actor, 'weight': 1.0::DOUBLE}] AS chosen,
        [{'role': 'assistant', 'content': l.response, 'origin': l.actor, 'weight': 1.0::DOUBLE}] AS rejected,
        coalesce(w.messages, p.messages) AS messages,
        w.liked - l.liked AS margin,
        l.liked
    FROM earlier AS w
    INNER JOIN earlier AS l ON l.prompt_id = w.prompt_id
    INNER JOIN bars ON bars.prompt_id = l.prompt_id
    INNER JOIN history.prompts AS p ON p.prompt_id = w.prompt_id AND p.part = 'train' AND p.round = $round - 1
    WHERE w.passes AND NOT l.passes AND l.liked >= bars.bar
)

SELECT
    prompt_id,
    chosen_id,
    rejected_id,
    NULL AS chosen,
    NULL AS rejected,
    NULL AS messages,
    NULL::DOUBLE AS margin,
    1.0::DOUBLE AS weight,
    'generation' AS origin,
    $round AS source_round,
    'passing against failing' AS reason
FROM fresh
UNION ALL
SELECT
    prompt_id,
    chosen_id,
    rejected_id,
    chosen,
    rejected,
    messages,
    margin,
    $hard_weight::DOUBLE AS weight,
    'generation' AS origin,
    $round - 1 AS source_round,
    format('hard negative: {:s} gave it {:g}', $past_scorer, liked) AS reason
FROM hard
