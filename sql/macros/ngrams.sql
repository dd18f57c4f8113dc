-- ngrams(words, n): every run of n words, as text with single blanks between them.
--   words: list of text; n: whole number from 1 up (an error below); gives a list of len(words) - n + 1 texts, empty for fewer words
-- Example: ngrams(['a', 'b', 'a', 'b'], 2) is ['a b', 'b a', 'a b'].
CREATE MACRO ngrams(words, n) AS
    CASE
        -- a failing cast carries the message: error() would keep the macro out of ORDER BY
        WHEN n::BIGINT < 1 THEN [format('ngrams of {} words: expected 1 or more', n::BIGINT)::BIGINT::VARCHAR]
        -- an n-gram is one of n - 1 words and the next word: no lambda sees a whole text, which DuckDB would copy for each word
        ELSE list_reduce(
            range(1, n::BIGINT),
            lambda shorter, i: list_transform(list_zip(shorter, words[i + 1:], true), lambda pair: concat(pair[1], ' ', pair[2])),
            words
        )
    END
