-- Asks every prompt again under directions of preference, said in words: how much of each of two qualities the answer should have.
--   $directions = 1      directions a prompt, drawn anew each round
--   $lowest = -45.0      angles are uniform between these two, in degrees: 0 is the first quality alone, below it the second
--   $highest = 45.0      counts against it
--   $text = "You are a helpful assistant. Your response should maximize weighted rating = {first}*{cos} + {second}*{sin}."
--                        the system message, in the place of one that the prompt has; {cos} and {sin} are whole numbers
--   $first = "helpfulness"   what the two qualities are called
--   $second = "verbosity"
-- Source: Wang et al., "Arithmetic Control of LLMs for Diverse User Preferences" (DPA), arXiv 2402.18571, and the README of
-- RLHFlow/Directional-Preference-Alignment. A direction that is drawn twice for a prompt, in whole numbers, is asked once.
WITH drawn AS (
    SELECT DISTINCT
        prompt_id,
        direction_in_words($lowest + ($highest - $lowest) * draw($seed, concat(prompt_id, '/', number))) AS direction
    FROM prompts
    CROSS JOIN range($directions::BIGINT) AS numbers(number)
    WHERE split = 'train'
)

SELECT
    p.prompt_id,
    list_prepend(
        {
            'role': 'system',
            'content': replace(
                replace(replace(replace($text, '{first}', $first), '{second}', $second), '{cos}', d.direction[1]::VARCHAR),
                '{sin}',
                d.direction[2]::VARCHAR
            )
        },
        list_transform(list_filter(p.messages, lambda m: m.role <> 'system'), lambda m: {'role': m.role, 'content': m.content})
    ) AS messages
FROM drawn AS d
INNER JOIN prompts AS p ON p.prompt_id = d.prompt_id
