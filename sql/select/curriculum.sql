-- A curriculum in a round: the best answer of every prompt, numbered in "order" from easy to hard, from hard to easy, or by how
-- much the policy has learned on the prompt. The order is kept by `train: [{order: selected}]`.
--   $rule = "easy_first"         easy_first, hard_first, or learning_progress: largest change of the pass rate since the prompt
--                                was last answered first, prompts that are new after them from easy to hard
--   $difficulty = "pass_rate"    how hard a prompt is: pass_rate (1 - the share of this round's answers with score >= 1), or
--                                given (prompts.difficulty; every prompt needs one)
--   $min_score = 1.0             an answer below it is never chosen
-- Best: the highest score, ties to the earlier sample. Ties of the order are drawn, so that files in blocks do not stay blocks.
-- Source: curriculum learning, Bengio et al., ICML 2009; learning progress as in ALP-GMM, Portelas et al., arXiv 1910.07224.
WITH best AS (
    SELECT
        prompt_id,
        generation_id
    FROM scored
    WHERE score >= $min_score
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, sample, generation_id) = 1
),

rates AS (
    SELECT prompt_id, pass_rate AS rate
    FROM prompt_history
),

earlier AS (
    SELECT
        prompt_id,
        count(generation_id) FILTER (WHERE score >= 1) / count(generation_id) AS rate
    FROM history.scored
    GROUP BY prompt_id, round
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY round DESC) = 1
),

measured AS (
    SELECT
        best.prompt_id,
        best.generation_id,
        abs(rates.rate - earlier.rate) AS progress,
        CASE $difficulty
            WHEN 'pass_rate' THEN 1.0 - rates.rate
            WHEN 'given' THEN coalesce(p.difficulty, error(format('prompt {} has no difficulty: name its column in prompts.fields', p.prompt_id))::DOUBLE)
            ELSE error(format('difficulty: expected pass_rate or given, found {}', $difficulty))::DOUBLE
        END AS difficulty
    FROM best
    INNER JOIN rates ON rates.prompt_id = best.prompt_id
    LEFT JOIN earlier ON earlier.prompt_id = best.prompt_id
    LEFT JOIN prompts AS p ON p.prompt_id = best.prompt_id
),

keyed AS (
    SELECT
        prompt_id,
        generation_id,
        difficulty,
        progress,
        CASE $rule
            WHEN 'easy_first' THEN 0.0::DOUBLE
            WHEN 'hard_first' THEN 0.0::DOUBLE
            WHEN 'learning_progress' THEN coalesce(-progress, 1.0)
            ELSE error(format('rule: expected easy_first, hard_first or learning_progress, found {}', $rule))::DOUBLE
        END AS first_by,
        if($rule = 'hard_first', -difficulty, difficulty) AS then_by
    FROM measured
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER (ORDER BY first_by, then_by, draw($seed, prompt_id), prompt_id) AS "order",
    format('difficulty {:.3f}', difficulty) || coalesce(format(', progress {:.3f}', progress), '') AS reason
FROM keyed
