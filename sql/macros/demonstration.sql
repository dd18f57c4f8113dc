-- demonstration(asked, answer, origin): messages of `selected`: what was asked as context, and one answer that trains.
--   asked: list of {role, content}; answer: text; origin: who wrote it, such as 'gold'
-- Example: demonstration([{'role': 'user', 'content': '1+1='}], '2', 'gold') has two messages with the weights 0 and 1.
CREATE MACRO demonstration(asked, answer, origin) AS
    list_append(
        list_transform(asked, lambda m: {'role': m.role, 'content': m.content, 'origin': 'prompt', 'weight': 0.0::DOUBLE}),
        {'role': 'assistant', 'content': answer, 'origin': origin, 'weight': 1.0::DOUBLE}
    )
