-- A control: answers drawn at random for each prompt, whatever their score. Same seed and round, same draw.
--   $per_prompt = 1  answers kept for each prompt
-- Source: the unfiltered baseline of rejection sampling; $seed is given by the engine for each round.
SELECT
    prompt_id,
    generation_id,
    row_number() OVER drawn AS rank,
    'drawn' AS reason
FROM generations
WINDOW drawn AS (PARTITION BY prompt_id ORDER BY draw($seed, generation_id), generation_id)
QUALIFY rank <= $per_prompt
