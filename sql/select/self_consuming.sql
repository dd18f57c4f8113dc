-- A curated and a real answer of each prompt: of the policy's answers one is kept by chance, the better the likelier, and the gold answers
-- train beside them with a fixed share of the weight.
--   $real_share = 0.5      the real answers' share of all weight, 1 / (1 + lambda); 0: none of them, and no gold answer is needed
--   $temperature = 1.0     an answer is kept with probability exp(score / temperature), as a share of its prompt's answers
--   $gold = null           JSON path in prompts.meta to the gold answer, such as "$.solution"; null: prompts.reference
--   $gold_form = "{gold}"  text around the gold answer
-- Answers without a score take no part. Curated rows weigh 1 each; the real rows, one a prompt, share the weight that is missing.
-- Source: Ferbach et al., "Self-Consuming Generative Models with Curated Data Provably Optimize Human Preferences", arXiv 2407.09499:
-- K-choice Bradley-Terry, and retraining on (p_ref + lambda p_curated) / (1 + lambda).
WITH known AS (
    SELECT
        prompt_id,
        generation_id,
        score,
        count(1) OVER (PARTITION BY prompt_id) AS answers,
        -- as a share of the prompt's largest weight, so that none overflows
        exp((score - max(score) OVER (PARTITION BY prompt_id)) / $temperature::DOUBLE) AS weight
    FROM scored
    WHERE score IS NOT NULL
),

curated AS (
    SELECT prompt_id, generation_id, score, answers
    FROM known
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY sampling_key($seed, generation_id, weight), generation_id) = 1
),

golden AS (
    SELECT
        prompt_id,
        demonstration(messages, gold_answer(prompt_id, meta, reference, $gold, $gold_form), 'gold') AS messages
    FROM prompts
    WHERE split = 'train' AND CASE
        WHEN $real_share >= 0 AND $real_share < 1 THEN $real_share > 0
        ELSE error(format('real_share: expected a share from 0 up and below 1, found {}', $real_share))::BOOLEAN
    END
)

SELECT
    prompt_id,
    generation_id,
    NULL::STRUCT(role VARCHAR, content VARCHAR, origin VARCHAR, weight DOUBLE)[] AS messages,
    1.0::DOUBLE AS weight,
    'curated' AS label,
    'generation' AS origin,
    format('score {:g}, drawn of {}', score, answers) AS reason
FROM curated
UNION ALL
SELECT
    prompt_id,
    NULL AS generation_id,
    messages,
    $real_share / (1.0::DOUBLE - $real_share) * (SELECT count(1) FROM curated) / (SELECT count(1) FROM golden) AS weight,
    'real' AS label,
    'gold' AS origin,
    'gold answer' AS reason
FROM golden
