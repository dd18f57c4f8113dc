-- B-STaR: the temperature and the reward threshold with the best balance score on the calibration, and how many answers a prompt
-- then keeps. Keys: temperature, threshold, keep, and balance (item_id: a temperature; its best score).
--   $lo = -1.0              lowest threshold that is tried
--   $hi = 1.0               highest
--   $step = 0.01            distance between two of them
--   $n_star = 6             right answers a prompt that are enough (n*): the paper's 6 for mathematics; its code has 8
--   $target = null          rows in all: answers a prompt grow from 1 until so many are kept; null: $max for every prompt
--   $keep = null            a fixed number of answers a prompt, instead of $target
--   $max = 64               answers a prompt at most
--   $bar = 1.0              score from which an answer is right; lower it where `combine` adds a smaller second reward
--   $empty_as_zero = false  count a prompt without kept answers as 0; the paper's code leaves it out of the mean
--   $dedupe = "after"       equal texts count once: after the cut, as the code does; before it; or none
--   $gold = null            JSON path in a prompt's meta to a worked solution that stands beside the answers, e.g. "$.solution"
--   $gold_score = 1.0       and its reward
-- An answer is kept where its reward is above the threshold, the best first. A prompt scores min(n' / n*, 1) * n' / n, with n'
-- right among n kept; means that agree in 12 decimals are equal, the first of equals wins. Thresholds between two rewards keep the
-- same rows, so only the first of them is computed. Source: Zeng et al., "B-STaR", arXiv 2412.17256; code determine_hyper.py.
WITH thresholds AS (
    SELECT i AS number, round($lo::DOUBLE + i * $step::DOUBLE, 9) AS threshold
    FROM range(floor(round(($hi::DOUBLE - $lo::DOUBLE) / $step::DOUBLE, 6))::BIGINT + 1) AS grid (i)
),

asked AS (
    SELECT temperature, prompt_id
    FROM calibrate.generations
    GROUP BY temperature, prompt_id
),

candidates AS (
    SELECT temperature, prompt_id, generation_id, sample, score, score >= $bar AS is_right, md5(response) AS text_id
    FROM calibrate.scored
    WHERE score IS NOT NULL AND coalesce(verdict, '') <> 'unparseable'
    UNION ALL
    SELECT asked.temperature, asked.prompt_id, 'gold', 9223372036854775807, $gold_score::DOUBLE, true, md5(prompts.meta ->> $gold::VARCHAR)
    FROM asked
    INNER JOIN prompts ON prompts.prompt_id = asked.prompt_id
    WHERE prompts.meta ->> $gold::VARCHAR IS NOT NULL
),

marked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY temperature, prompt_id, text_id
            ORDER BY score DESC, sample, generation_id
        ) = 1 AS is_new
    FROM candidates
),

passing AS (
    SELECT rewards.score, coalesce(thresholds.number + 1, 0) AS passes
    FROM (SELECT score FROM candidates GROUP BY score) AS rewards
    ASOF LEFT JOIN thresholds ON rewards.score > thresholds.threshold
),

ranked AS (
    SELECT
        marked.temperature,
        marked.prompt_id,
        passing.passes,
        row_number() OVER best AS rank,
        CASE $dedupe
            WHEN 'none' THEN true
            WHEN 'before' THEN marked.is_new
            WHEN 'after' THEN marked.is_new
            -- a failing cast carries the message
            ELSE format('dedupe: expected after, before or none, found {}', $dedupe)::BOOLEAN
        END AS counts,
        marked.is_right
    FROM marked
    INNER JOIN passing ON passing.score = marked.score
    WHERE marked.is_new OR $dedupe <> 'before'
    WINDOW best AS (PARTITION BY marked.temperature, marked.prompt_id ORDER BY marked.score DESC, marked.sample, marked.generation_id)
),

running AS (
    SELECT
        temperature,
        prompt_id,
        rank,
        passes,
        counts,
        count(rank) FILTER (WHERE counts) OVER so_far AS kept,
        count(rank) FILTER (WHERE counts AND is_right) OVER so_far AS kept_right
    FROM ranked
    WINDOW so_far AS (PARTITION BY temperature, prompt_id ORDER BY rank)
),

regimes AS (
    SELECT temperature, 0 AS number
    FROM asked
    UNION
    SELECT temperature, passes
    FROM running
    WHERE passes < (SELECT count(number) FROM thresholds)
),

histogram AS (
    SELECT temperature, rank, passes, count(rank) FILTER (WHERE counts) AS rows_
    FROM running
    GROUP BY temperature, rank, passes
),

by_rank AS (
    SELECT regimes.temperature, regimes.number, histogram.rank, sum(histogram.rows_) AS rows_
    FROM regimes
    INNER JOIN histogram ON histogram.temperature = regimes.temperature AND histogram.passes > regimes.number
    GROUP BY regimes.temperature, regimes.number, histogram.rank
),

totals AS (
    SELECT temperature, number, rank, sum(rows_) OVER (PARTITION BY temperature, number ORDER BY rank) AS total
    FROM by_rank
),

sizes AS (
    SELECT
        regimes.temperature,
        regimes.number,
        least($max::BIGINT, coalesce($keep::BIGINT, min(totals.rank) FILTER (WHERE totals.total >= $target::BIGINT), $max::BIGINT)) AS size
    FROM regimes
    LEFT JOIN totals ON totals.temperature = regimes.temperature AND totals.number = regimes.number
    GROUP BY regimes.temperature, regimes.number
),

levels AS (
    SELECT temperature, prompt_id, passes, max(rank) AS rank
    FROM running
    GROUP BY temperature, prompt_id, passes
),

cells AS (
    SELECT asked.temperature, asked.prompt_id, sizes.number, sizes.size
    FROM asked
    INNER JOIN sizes ON sizes.temperature = asked.temperature
),

eligible AS (
    SELECT
        cells.temperature,
        cells.prompt_id,
        cells.number,
        CASE WHEN levels.rank IS NOT NULL THEN least(cells.size, levels.rank) END AS rank -- least() passes over nulls
    FROM cells
    ASOF LEFT JOIN levels
        ON cells.temperature = levels.temperature AND cells.prompt_id = levels.prompt_id AND cells.number < levels.passes
),

kept AS (
    SELECT
        eligible.temperature,
        eligible.number,
        coalesce(running.kept, 0) AS n,
        coalesce(running.kept_right, 0) AS n_right
    FROM eligible
    LEFT JOIN running
        ON running.temperature = eligible.temperature AND running.prompt_id = eligible.prompt_id AND running.rank = eligible.rank
),

balances AS (
    SELECT
        temperature,
        number,
        round(
            fsum(CASE WHEN n > 0 THEN least(n_right / $n_star::DOUBLE, 1.0) * (n_right / n) ELSE 0.0 END)
            / nullif(CASE WHEN $empty_as_zero THEN count(n) ELSE count(n) FILTER (WHERE n > 0) END, 0),
            12
        ) AS balance
    FROM kept
    GROUP BY temperature, number
),

by_temperature AS (
    SELECT balances.temperature, balances.number, balances.balance, thresholds.threshold, sizes.size
    FROM balances
    INNER JOIN thresholds ON thresholds.number = balances.number
    INNER JOIN sizes ON sizes.temperature = balances.temperature AND sizes.number = balances.number
    WHERE balances.balance IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY balances.temperature ORDER BY balances.balance DESC, balances.number) = 1
),

best AS (
    SELECT temperature, threshold, size, balance
    FROM by_temperature
    ORDER BY balance DESC, temperature
    LIMIT 1
),

found AS (
    SELECT 'temperature' AS key, NULL AS item_id, to_json(temperature) AS value, format('balance {:.4f}', balance) AS reason FROM best
    UNION ALL
    SELECT 'threshold', NULL, to_json(threshold), 'answers with a higher reward are kept' FROM best
    UNION ALL
    SELECT 'keep', NULL, to_json(size), 'answers a prompt at most' FROM best
    UNION ALL
    SELECT 'balance', format('{:g}', temperature), to_json(balance), format('threshold {:g}, keep {}', threshold, size) FROM by_temperature
)

SELECT key, item_id, value, reason
FROM found
