-- A cyclical curriculum over rounds: a round trains on a share of the prompts that grows from round to round, shrinks again, and
-- so on; easy prompts are drawn more often. A row is a prompt with its best answer (highest score, ties to the earlier sample).
--   $first = 0.25     smallest share
--   $last = 1.0       largest share
--   $factor = 0.5     the share grows by 1 / factor a round, and shrinks by factor
--   $floor = 0.05     a prompt's difficulty (1 - the share of this round's answers with score >= 1) is taken as at least this
--   $min_score = 1.0  an answer below it is never chosen
-- Source: Kesgin and Amasyali, "Cyclical Curriculum Learning", IEEE TNNLS 2023: rows are drawn without replacement by
-- 1 / difficulty, where the paper has 1 / loss of a model trained before.
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

sized AS (
    SELECT
        best.prompt_id,
        best.generation_id,
        greatest(1.0 - rates.rate, $floor::DOUBLE) AS difficulty,
        cycle_size($round, $first, $last, $factor) AS size,
        greatest(1, round(cycle_size($round, $first, $last, $factor) * count(best.prompt_id) OVER ())) AS n
    FROM best
    INNER JOIN rates ON rates.prompt_id = best.prompt_id
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER drawn AS rank,
    format('difficulty {:.3f}, a share of {:.3f} trains', difficulty, size) AS reason
FROM sized
WINDOW drawn AS (ORDER BY sampling_key($seed, prompt_id, 1.0 / difficulty), prompt_id)
QUALIFY rank <= n
