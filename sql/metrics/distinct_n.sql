-- distinct-n of a prompt's answers: different n-grams of words / all n-grams; null where no answer has n words.
--   $k  words of an n-gram, the number after the @: distinct_n@2
-- It falls with length. Source: Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", arXiv
-- 1510.03055; words are what stands between blanks.
WITH cut AS (
    SELECT prompt_id, unnest(ngrams(split_words(response), $k)) AS gram
    FROM answers
),

counted AS (
    SELECT prompt_id, count(DISTINCT gram) / count(gram) AS value
    FROM cut
    GROUP BY prompt_id
)

SELECT asked.prompt_id, counted.value
FROM (SELECT prompt_id FROM answers GROUP BY prompt_id) AS asked
LEFT JOIN counted ON counted.prompt_id = asked.prompt_id
