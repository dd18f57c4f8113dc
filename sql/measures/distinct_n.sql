-- distinct-n of a prompt's answers: different n-grams of words / all n-grams; the same number for every answer of a prompt. Null
-- where no answer has n words. It falls with length: compare equal lengths, or give a vocabulary.
--   $n = 2              words of an n-gram
--   $vocabulary = null  words of the language: the number is EAD, the expectation-adjusted distinct-n; null: the plain share
-- Source: Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", arXiv 1510.03055; EAD: Liu et al.,
-- ACL 2022. Words are what stands between blanks.
WITH cut AS (
    SELECT prompt_id, unnest(ngrams(split_words(response), $n)) AS gram
    FROM generations
),

counted AS (
    SELECT prompt_id, count(DISTINCT gram) AS found, count(gram) AS total
    FROM cut
    GROUP BY prompt_id
)

SELECT
    g.generation_id AS item_id,
    CASE
        WHEN $vocabulary::BIGINT IS NULL THEN counted.found / counted.total
        ELSE expected_distinct(counted.found, counted.total, $vocabulary::BIGINT)
    END AS value,
    format('{} of {}', coalesce(counted.found, 0), coalesce(counted.total, 0)) AS detail
FROM generations AS g
LEFT JOIN counted ON counted.prompt_id = g.prompt_id
