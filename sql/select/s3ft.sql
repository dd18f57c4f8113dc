-- S3FT: every prompt trains once, with the target that is nearest to the policy's own words: its right answer, else a right
-- paraphrase of the gold answer, else the gold answer itself. `label` says which: self, paraphrase or gold.
--   $min_score = 1.0      score from which an answer or a paraphrase is right (the judge is the spec's verifiers)
--   $followup = "paraphrase"  the entry of `followup` that holds the paraphrases
--   $gold = null          JSON path in prompts.meta to the gold answer, such as "$.solution"; null: prompts.reference
--   $gold_form = "{gold}"  text around the gold answer
-- Of several right ones the earliest sample. A lenient judge turns this into training on the policy's own errors.
-- Source: Gupta et al., "Selective Self-to-Supervised Fine-Tuning for Generalization in Large Language Models", arXiv 2502.08130
-- (there one greedy answer a prompt).
WITH own AS (
    SELECT prompt_id, generation_id, score
    FROM scored
    WHERE coalesce(
        score >= $min_score,
        CASE
            WHEN (SELECT count(score) FROM scored) = 0
                THEN error('no answer has a score: S3FT needs a judge, name one in `score`')::BOOLEAN
        END
    )
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) = 1
),

paraphrases AS (
    SELECT prompt_id, generation_id, score
    FROM followup.scored
    WHERE part = 'followup/' || $followup AND score >= $min_score
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) = 1
),

targets AS (
    SELECT
        p.prompt_id,
        p.messages,
        p.meta,
        p.reference,
        coalesce(own.generation_id, said.generation_id) AS generation_id,
        coalesce(own.score, said.score) AS score,
        CASE WHEN own.generation_id IS NOT NULL THEN 'self' WHEN said.generation_id IS NOT NULL THEN 'paraphrase' ELSE 'gold' END AS target
    FROM prompts AS p
    LEFT JOIN own ON own.prompt_id = p.prompt_id
    LEFT JOIN paraphrases AS said ON said.prompt_id = p.prompt_id
    WHERE p.split = 'train'
)

SELECT
    prompt_id,
    generation_id,
    CASE target
        WHEN 'gold' THEN demonstration(messages, gold_answer(prompt_id, meta, reference, $gold, $gold_form), 'gold')
    END AS messages,
    target AS label,
    CASE target WHEN 'self' THEN 'generation' WHEN 'paraphrase' THEN 'refined' ELSE 'gold' END AS origin,
    CASE target
        WHEN 'gold' THEN 'gold: no answer and no paraphrase is right'
        ELSE format('{:s}: right, score {:g}', target, score)
    END AS reason
FROM targets
