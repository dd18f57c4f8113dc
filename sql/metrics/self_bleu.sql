-- Self-BLEU of a prompt's answers: the mean BLEU-4 of each answer with the others as its references: 1 where all say the same (in at
-- least 4 words), low where they differ; null for a single answer. Smoothing method 1: a precision without a match counts 0.1.
-- Source: Zhu et al., "Texygen", arXiv 1802.01886; the same numbers as the measure `self_bleu`, whose references are 50 at most.
WITH cut AS (
    SELECT prompt_id, generation_id, split_words(response) AS words
    FROM answers
),

sizes AS (
    SELECT prompt_id, generation_id, len(words) AS size, count(generation_id) OVER (PARTITION BY prompt_id) AS answers
    FROM cut
),

grams AS (
    SELECT prompt_id, generation_id, n, unnest(ngrams(words, n)) AS gram
    FROM cut
    CROSS JOIN (SELECT unnest([1, 2, 3, 4]) AS n) AS lengths
),

counted AS (
    SELECT prompt_id, generation_id, n, gram, count(gram) AS times
    FROM grams
    GROUP BY prompt_id, generation_id, n, gram
),

topped AS (
    SELECT
        *,
        -- the largest count in another answer: the first of all, or the second for the answer that has the first
        max(times, 2) OVER (PARTITION BY prompt_id, n, gram) AS largest
    FROM counted
),

matched AS (
    SELECT
        prompt_id,
        generation_id,
        n,
        sum(least(times, coalesce(if(times = largest[1], largest[2], largest[1]), 0)))::BIGINT AS matches,
        sum(times)::BIGINT AS total
    FROM topped
    GROUP BY prompt_id, generation_id, n
),

precisions AS (
    SELECT
        s.prompt_id,
        s.generation_id,
        s.size,
        max(coalesce(m.matches, 0)) FILTER (WHERE lengths.n = 1) AS shared_words,
        fsum(ln(if(coalesce(m.matches, 0) > 0, m.matches, 0.1::DOUBLE) / coalesce(m.total, 1))) / 4 AS mean_log
    FROM sizes AS s
    CROSS JOIN (SELECT unnest([1, 2, 3, 4]) AS n) AS lengths
    LEFT JOIN matched AS m ON m.prompt_id = s.prompt_id AND m.generation_id = s.generation_id AND m.n = lengths.n
    WHERE s.answers > 1
    GROUP BY s.prompt_id, s.generation_id, s.size
),

closest AS (
    SELECT a.prompt_id, a.generation_id, arg_min(b.size, {'gap': abs(b.size - a.size), 'size': b.size}) AS size
    FROM sizes AS a
    INNER JOIN sizes AS b ON b.prompt_id = a.prompt_id AND b.generation_id <> a.generation_id
    GROUP BY a.prompt_id, a.generation_id
),

bleus AS (
    SELECT
        p.prompt_id,
        CASE
            WHEN p.shared_words = 0 THEN 0.0::DOUBLE
            ELSE round(if(p.size > c.size, 1.0::DOUBLE, exp(1 - c.size / p.size)) * exp(p.mean_log), 12)
        END AS bleu
    FROM precisions AS p
    INNER JOIN closest AS c ON c.prompt_id = p.prompt_id AND c.generation_id = p.generation_id
),

means AS (
    SELECT prompt_id, fsum(bleu) / count(bleu) AS value
    FROM bleus
    GROUP BY prompt_id
)

SELECT asked.prompt_id, means.value
FROM (SELECT prompt_id FROM answers GROUP BY prompt_id) AS asked
LEFT JOIN means ON means.prompt_id = asked.prompt_id
