-- Every right answer of a prompt against every wrong one, or as many of these as wanted.
--   $scorer = "score"     the score that says what is right
--   $min_score = 1.0      score from which an answer is right
--   $max_wrong = null     score up to which an answer is wrong; null: every one below $min_score. A gap leaves the ones between out
--   $per_prompt = null    pairs of a prompt at most; null: all
--   $balance = "pairs"    which pairs: pairs: drawn from all of them; answers: each answer stands in one pair at most (as many pairs
--                         as the rarer kind has answers, the partners drawn)
--   $weigh = "pairs"      pairs: each pair weighs 1; prompts: the pairs of a prompt weigh 1 together, as in a listwise loss
--   $unscored = "out"     an answer that the scorer gave no number, such as a judgement that cannot be read: out: takes no part;
--                         wrong: is a wrong one
-- Source: all pairs of right and wrong are those of the reward model of Qwen2.5-Math (Yang et al., arXiv 2409.12122); with the scorer
-- minus the distance to the gold score, $min_score 0 and $max_wrong -1 or -2 they are those of Self-Rationalization (Trivedi et al.,
-- arXiv 2410.05495). A prompt whose answers are all right or all wrong makes no pair.
WITH judged AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        CASE
            WHEN value >= $min_score THEN true
            WHEN value IS NULL AND $unscored = 'wrong' THEN false
            WHEN value IS NULL AND $unscored <> 'out' THEN error(format('unscored: expected out or wrong, found {:s}', $unscored))::BOOLEAN
            WHEN value <= coalesce($max_wrong::DOUBLE, $min_score) THEN false
        END AS is_right
    FROM rated
    WHERE scorer = $scorer
),

known AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY prompt_id, is_right ORDER BY draw($seed, generation_id), generation_id) AS partner
    FROM judged
    WHERE is_right IS NOT NULL
),

crossed AS (
    SELECT
        w.prompt_id,
        w.generation_id AS chosen_id,
        l.generation_id AS rejected_id,
        w.value - l.value AS margin,
        draw($seed, concat(w.generation_id, '/', l.generation_id)) AS lot
    FROM known AS w
    INNER JOIN known AS l ON l.prompt_id = w.prompt_id
    WHERE w.is_right AND NOT l.is_right AND CASE $balance
        WHEN 'pairs' THEN true
        WHEN 'answers' THEN w.partner = l.partner
        ELSE error(format('balance: expected pairs or answers, found {:s}', $balance))::BOOLEAN
    END
)

SELECT
    prompt_id,
    chosen_id,
    rejected_id,
    margin,
    CASE $weigh
        WHEN 'pairs' THEN 1.0::DOUBLE
        WHEN 'prompts' THEN 1.0::DOUBLE / least(count(chosen_id) OVER (PARTITION BY prompt_id), $per_prompt::BIGINT)
        ELSE error(format('weigh: expected pairs or prompts, found {:s}', $weigh))::DOUBLE
    END AS weight,
    'right against wrong' AS reason
FROM crossed
QUALIFY $per_prompt::BIGINT IS NULL
    OR row_number() OVER (PARTITION BY prompt_id ORDER BY lot, chosen_id, rejected_id) <= $per_prompt
