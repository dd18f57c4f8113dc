-- How much answers differ, round by round: the share that repeats a sibling word for word, distinct-1, -2 and -3 over the whole round
-- (different n-grams of words / all n-grams), the mean distinct-2 of a prompt, and the mean entropy of a prompt's final answers in nats.
--   $experiment = null  one experiment; null: all
--   $part = "rollout"   rollout, eval, calibrate or followup/NAME
--   $bar = null         only answers with a score from this number on, such as 1 for right ones; null: all
-- Distinct-n falls with length and with the number of answers: compare rounds of one size. Source: Li et al., arXiv 1510.03055.
WITH answers AS (
    SELECT g.experiment, g.round, g.prompt_id, g.generation_id, g.content_id, g.response, s.verdict
    FROM lake.generations AS g
    LEFT JOIN lake.scores AS s
        ON s.experiment = g.experiment AND s.round = g.round AND s.part = g.part || '/score' AND s.item_id = g.generation_id
    WHERE
        g.part = $part
        AND ($experiment::VARCHAR IS NULL OR g.experiment = $experiment)
        AND ($bar::DOUBLE IS NULL OR s.value >= $bar::DOUBLE)
),

prompts_ AS (
    SELECT experiment, round, prompt_id, count(generation_id) AS answers, count(DISTINCT content_id) AS different
    FROM answers
    GROUP BY experiment, round, prompt_id
),

totals AS (
    SELECT experiment, round, sum(answers)::BIGINT AS answers, count(prompt_id) AS prompts, sum(different)::BIGINT AS different
    FROM prompts_
    GROUP BY experiment, round
),

grams AS (
    SELECT experiment, round, prompt_id, n, gram, count(gram) AS times
    FROM (
        SELECT experiment, round, prompt_id, n, unnest(ngrams(split_words(response), n)) AS gram
        FROM answers
        CROSS JOIN (SELECT unnest([1, 2, 3]) AS n) AS lengths
    ) AS cut
    GROUP BY experiment, round, prompt_id, n, gram
),

corpus AS (
    SELECT
        experiment,
        round,
        count(DISTINCT gram) FILTER (WHERE n = 1) / nullif(sum(times) FILTER (WHERE n = 1), 0) AS distinct_1,
        count(DISTINCT gram) FILTER (WHERE n = 2) / nullif(sum(times) FILTER (WHERE n = 2), 0) AS distinct_2,
        count(DISTINCT gram) FILTER (WHERE n = 3) / nullif(sum(times) FILTER (WHERE n = 3), 0) AS distinct_3
    FROM grams
    GROUP BY experiment, round
),

within AS (
    SELECT experiment, round, fsum(share) / count(share) AS prompt_distinct_2
    FROM (
        SELECT experiment, round, prompt_id, count(gram) / sum(times)::BIGINT AS share
        FROM grams
        WHERE n = 2
        GROUP BY experiment, round, prompt_id
    ) AS shares_
    GROUP BY experiment, round
),

ballots AS (
    SELECT experiment, round, prompt_id, final_answer(response) AS answer, count(generation_id) AS copies
    FROM answers
    WHERE coalesce(verdict, '') <> 'unparseable'
    GROUP BY experiment, round, prompt_id, answer
),

undecided AS (
    SELECT experiment, round, fsum(nats) / count(nats) AS answer_entropy
    FROM (
        SELECT experiment, round, prompt_id, entropy(list(copies ORDER BY answer)) AS nats
        FROM ballots
        GROUP BY experiment, round, prompt_id
    ) AS entropies
    GROUP BY experiment, round
)

SELECT
    t.experiment,
    t.round,
    t.prompts,
    t.answers,
    1.0::DOUBLE - t.different / t.answers AS repeated,
    c.distinct_1,
    c.distinct_2,
    c.distinct_3,
    w.prompt_distinct_2,
    u.answer_entropy
FROM totals AS t
LEFT JOIN corpus AS c ON c.experiment = t.experiment AND c.round = t.round
LEFT JOIN within AS w ON w.experiment = t.experiment AND w.round = t.round
LEFT JOIN undecided AS u ON u.experiment = t.experiment AND u.round = t.round
ORDER BY t.experiment, t.round
