-- split_words(given): the words of a text, cut at blanks, tabs and line ends; case and punctuation stay.
--   given: text; gives a list of text, empty for a text without a word
-- Example: split_words(' a  b, c ') is ['a', 'b,', 'c'].
CREATE MACRO split_words(given) AS
    list_filter(
        string_split(translate(given, chr(9) || chr(10) || chr(11) || chr(12) || chr(13), '     '), ' '),
        lambda word: word <> ''
    )
