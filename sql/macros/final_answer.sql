-- final_answer(response): the final answer that a text gives: what stands after the last 'Answer:' or '####', else in the last
-- \boxed{}, else the whole text; blanks and closing dots and dollar signs are cut off, and numbers are written in one way.
--   response: text; gives text. 'Answer: 1,000.' and '\boxed{1000}' have the same final answer, 1000.0
-- Example: final_answer('so 2. Answer: $7.00$.') is '7.0'.
-- Source: the answers that self-consistency counts (Wang et al., arXiv 2203.11171), in the forms that math prompts ask for.
CREATE MACRO final_answer(response) AS
    list_transform(
        [trim(coalesce(
            nullif(regexp_extract(response, '(?s).*(?:Answer:|####)[ \t]*([^\n]*)', 1), ''),
            nullif(regexp_extract(response, '(?s).*\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}', 1), ''),
            response
        ), ' .$' || chr(10) || chr(9) || chr(13))],
        lambda answer: coalesce(try_cast(replace(answer, ',', '') AS DOUBLE)::VARCHAR, answer)
    )[1]
