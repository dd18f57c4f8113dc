-- A human curriculum: rows in "order" of educational stage and cognitive level, and within a level one subject after the other
-- in turn instead of block by block. The best answer of every prompt; the order is kept by `train: [{order: selected}]`.
--   $stage = null             a column of the files (in prompts.meta) with a number: secondary school before college; null: one
--   $level = "difficulty"     difficulty: prompts.difficulty; pass_rate: 1 - the share of this round's answers with score >= 1;
--                             or a column of the files with a number, such as "bloom"
--   $subject = "topic"        topic, task, or a column of the files
--   $interleave = true        false: block by block within a level, the paper's comparison
--   $min_score = 1.0          an answer below it is never chosen
-- Best: the highest score, ties to the earlier sample. In a subject's level the prompts are in a drawn order.
-- Source: Lee et al., "Instruction Tuning with Human Curriculum" (CORGI), arXiv 2310.09518.
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

placed AS (
    SELECT
        best.prompt_id,
        best.generation_id,
        CASE WHEN $stage::VARCHAR IS NULL THEN 0.0::DOUBLE ELSE (p.meta ->> $stage::VARCHAR)::DOUBLE END AS stage,
        CASE $level
            WHEN 'difficulty' THEN p.difficulty
            WHEN 'pass_rate' THEN 1.0 - rates.rate
            ELSE (p.meta ->> $level::VARCHAR)::DOUBLE
        END AS level,
        coalesce(CASE $subject WHEN 'topic' THEN p.topic WHEN 'task' THEN p.task ELSE p.meta ->> $subject::VARCHAR END, '') AS subject
    FROM best
    INNER JOIN rates ON rates.prompt_id = best.prompt_id
    INNER JOIN prompts AS p ON p.prompt_id = best.prompt_id AND p.split = 'train'
),

turns AS (
    SELECT
        prompt_id,
        generation_id,
        coalesce(stage, error(format('prompt {} has no stage', prompt_id))::DOUBLE) AS stage,
        coalesce(level, error(format('prompt {} has no level', prompt_id))::DOUBLE) AS level,
        subject,
        row_number() OVER (PARTITION BY stage, level, subject ORDER BY draw($seed, prompt_id), prompt_id) AS turn
    FROM placed
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER (
        ORDER BY stage, level, if($interleave::BOOLEAN, turn, 0), subject, turn, prompt_id
    ) AS "order",
    format('stage {:g}, level {:g}, {:s}', stage, level, subject) AS reason
FROM turns
