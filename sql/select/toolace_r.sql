-- ToolACE-R: prompts that the policy can potentially solve, by their pass rate in this round. Each gives a direct row (prompt to
-- answer) and one for each of its drafts: refine (wrong draft to corrected answer) or stop (right draft to itself, which teaches
-- when to leave an answer alone). `label` says which: direct, refine or stop. As ability rises, more prompts take part.
--   $lo = 0.0             pass rate between $lo and $hi: a prompt takes part
--   $hi = 1.0             with bounds "()" and 1.0: prompts that are always solved are left out too
--   $bounds = "(]"        ends of that interval: (), (], [) or []
--   $min_score = 1.0      score from which an answer is right
--   $direct = "gold"      target of direct rows: gold, or generation: the earliest right answer
--   $drafts = 1           first answers of a prompt that are drafts; 0: direct rows alone
--   $followup = "refine"  the entry of `followup` with the revisions of wrong drafts (followup/refine.sql)
--   $corrected = "refined"  target of refine rows: refined: a right revision, else the gold answer; gold: always that;
--                         only_refined: a draft without a right revision gives no row
--   $gold = null          JSON path in prompts.meta to the gold answer, such as "$.solution"; null: prompts.reference
--   $gold_form = "{gold}"  text around the gold answer
--   $ask = "Check your answer. If it is right, repeat it unchanged; if not, give a corrected answer."  what follows the draft
-- Source: Zeng et al., "ToolACE-R: Model-aware Iterative Training and Adaptive Refinement for Tool Learning", arXiv 2504.01400. No
-- code was published, and the thresholds are not certain: pass rates above 0 are the recalled rule.
WITH answers AS (
    SELECT
        prompt_id,
        generation_id,
        response,
        coalesce(score >= $min_score, false) AS is_right,
        row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) AS place
    FROM scored
),

rates AS (
    SELECT
        prompt_id,
        count(generation_id) FILTER (WHERE is_right) AS right_answers,
        count(generation_id) AS trials,
        arg_min(generation_id, place) FILTER (WHERE is_right) AS earliest
    FROM answers
    GROUP BY prompt_id
    HAVING in_interval(right_answers / trials, $lo, $hi, $bounds)
),

included AS (
    SELECT
        rates.*,
        p.messages,
        p.meta,
        p.reference
    FROM rates
    INNER JOIN prompts AS p ON p.prompt_id = rates.prompt_id AND p.split = 'train'
),

revisions AS (
    SELECT parent_id, generation_id, response
    FROM followup.scored
    WHERE part = 'followup/' || $followup AND score >= $min_score
    QUALIFY row_number() OVER (PARTITION BY parent_id ORDER BY sample, generation_id) = 1
),

drafted AS (
    SELECT
        i.*,
        a.place,
        a.is_right,
        CASE WHEN a.is_right THEN a.generation_id WHEN $corrected <> 'gold' THEN r.generation_id END AS target_id,
        CASE WHEN a.is_right THEN a.response WHEN $corrected <> 'gold' THEN r.response END AS said,
        list_concat(i.messages, [{'role': 'assistant', 'content': a.response}, {'role': 'user', 'content': $ask}]) AS asked
    FROM included AS i
    INNER JOIN answers AS a ON a.prompt_id = i.prompt_id AND a.place <= $drafts
    LEFT JOIN revisions AS r ON r.parent_id = a.generation_id
    WHERE CASE $corrected
        WHEN 'refined' THEN true
        WHEN 'gold' THEN true
        WHEN 'only_refined' THEN a.is_right OR r.generation_id IS NOT NULL
        ELSE error(format('corrected: expected refined, gold or only_refined, found {}', $corrected))::BOOLEAN
    END
)

SELECT
    prompt_id,
    CASE $direct
        WHEN 'gold' THEN NULL
        WHEN 'generation'
            THEN coalesce(
                earliest, error(format('prompt {} has no right answer: take direct: gold, or leave 0 out of the interval', prompt_id))
            )
        ELSE error(format('direct: expected gold or generation, found {}', $direct))
    END AS generation_id,
    CASE $direct
        WHEN 'gold' THEN demonstration(messages, gold_answer(prompt_id, meta, reference, $gold, $gold_form), 'gold')
    END AS messages,
    0 AS rank,
    'direct' AS label,
    $direct AS origin,
    format('direct: {} of {} right', right_answers, trials) AS reason
FROM included
UNION ALL
SELECT
    prompt_id,
    target_id AS generation_id,
    demonstration(
        asked,
        coalesce(said, gold_answer(prompt_id, meta, reference, $gold, $gold_form)),
        if(said IS NULL, 'gold', 'policy')
    ) AS messages,
    place AS rank,
    if(is_right, 'stop', 'refine') AS label,
    'refined' AS origin,
    format(
        '{:s}: draft {}, {} of {} right',
        CASE WHEN is_right THEN 'stop' WHEN said IS NULL THEN 'refine to gold' ELSE 'refine to a revision' END,
        place,
        right_answers,
        trials
    ) AS reason
FROM drafted
