"""tool_call: how calls are read, what tools take, and when calls are the expected ones."""

import json

import pytest

from engine.score import Answer, make
from engine.score.calls import Call, Unreadable
from engine.score.calls.matching import Rules, difference
from engine.score.calls.reading import read
from engine.score.calls.tools import by_name
from engine.spec import Scorer

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "default": 1},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            },
            "required": ["city"],
        },
    },
}
MOVE = {"name": "robot.move", "parameters": {"type": "dict", "properties": {"x": {"type": "float"}, "path": {"type": "tuple"}}}}
META = {"tools": [WEATHER, MOVE]}
PARIS = '[{"name": "weather", "arguments": {"city": "Paris"}}]'
CALL = Call("weather", {"city": "Paris"})


def verify(response, reference=PARIS, meta=None, **params):
    return make(Scorer(verifier="tool_call", params=params)).verify(Answer(response, reference, None, META if meta is None else meta))


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "weather", "arguments": {"city": "Paris"}}',
        'Let me look. {"name": "weather", "parameters": {"city": "Paris"}} There.',
        '```json\n[{"name": "weather", "arguments": {"city": "Paris"}}]\n```',
        '{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "weather", '
        '"arguments": "{\\"city\\": \\"Paris\\"}"}}]}',
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        "weather(city='Paris')",
        "[weather(city='Paris')]",
        "I call [weather(city='Paris')] now",
        "```python\nweather(city='Paris')\n```",
        '{"weather": {"city": "Paris"}}',
    ],
)
def test_calls_are_read_as_models_write_them(text):
    assert read(text) == [CALL]


def test_several_calls_in_each_form():
    both = [CALL, Call("robot.move", {"x": -1.5, "path": [1, 2]})]
    assert read("[weather(city='Paris'), robot.move(x=-1.5, path=(1, 2))]") == both
    assert read("weather(city='Paris')\nrobot.move(x=-1.5, path=(1, 2))") == both
    one, two = ({"name": name, "arguments": arguments} for name, arguments in both)
    assert read(json.dumps([one, two])) == both == read(f"{json.dumps(one)}\n{json.dumps(two)}")
    assert read(f"<tool_call>{json.dumps(one)}</tool_call><tool_call>{json.dumps(two)}</tool_call>") == both


@pytest.mark.parametrize("text", ["", "It is warm.", "12"])
def test_texts_without_a_call(text):
    assert verify(text).verdict == "unparseable"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('<tool_call>{"name": "weather"}', "not closed"),
        ("<tool_call>weather</tool_call>", "holds no call"),
        ('{"name": "weather", "arguments": "{city"}', "arguments of weather are no JSON"),
        ('{"name": "weather", "arguments": [1]}', "list, expected an object"),
        ("weather('Paris')", "without a name"),
        ("weather(**{'city': 1})", "without a name"),
        ("weather(city=open('x'))", "no literal"),
        ("weather(city=", "there is no call"),
        ("weather(city={1, 2})", "no literal"),
        ("(lambda: 1)(a=1)", ""),
        ('{"city": "Paris", "days": 1}', "no name of a tool"),
        ("f(" * 3000 + ")" * 3000, ""),
        ("f(a=" + "[" * 3000 + "]" * 3000 + ")", ""),
        ("f(a=" + "1" * 60_000 + ")", "characters of calls"),
    ],
)
def test_calls_that_cannot_be_read(text, told):
    found = verify(text)
    assert found.verdict == "unparseable" and told in found.detail and found.value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        ")" + "f(" * 100_000,
        "```x\n" * 50_000,
        "</tool_call>" * 20_000 + "<tool_call>" * 20_000,
        "[" * 200_000,
        '{"a":' * 50_000,
    ],
)
def test_long_texts_take_no_quadratic_time(text):
    assert verify(text).verdict == "unparseable"  # minutes, if they did


def test_a_call_is_never_run():
    with pytest.raises(Unreadable):
        read("weather(city=__import__('os').system('false'))", "python")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wether(city='Paris')", "unknown tool 'wether'"),
        ("weather(days=2)", "weather: missing argument 'city'"),
        ("weather(city='Paris', town='x')", "weather: unknown argument 'town'"),
        ("weather(city=7)", "weather: wrong type of 'city' ($: 7 is not of type 'string')"),
        ("weather(city='Paris', unit='kelvin')", "weather: wrong type of 'unit'"),
        ("robot.move(x='far')", "robot.move: wrong type of 'x' ($: 'far' is not of type 'number')"),
        ("weather(city='London')", """weather: wrong value of 'city': found "London", expected "Paris\""""),
        ("weather(city='Paris', days=2)", "weather: argument 'days' is not expected"),
        ("robot.move(x=1)", "no call of 'weather'"),
        ("[weather(city='Paris'), weather(city='Paris')]", "2 calls, expected 1"),
    ],
)
def test_the_first_difference_is_told(text, told):
    found = verify(text)
    assert found.verdict == "wrong" and found.detail.startswith(told)


def test_arguments_that_equal_the_default_strings_and_numbers():
    assert verify("weather(city='Paris', days=1, unit='celsius')").verdict == "right"
    assert verify("weather(city='Paris', days=1)", extra="forbid").verdict == "wrong"
    assert verify("weather(city='Paris', days=9)", extra="allow").verdict == "right"
    asked = '{"name": "weather", "arguments": {"city": "Paris", "days": 1}}'
    assert verify("weather(city='Paris')", asked).verdict == "right"
    assert verify("weather(city=' paris.')").verdict == "right" and verify("weather(city=' paris.')", strings="exact").verdict == "wrong"
    move = '{"name": "robot.move", "arguments": {"x": 2.0, "path": [1, 2]}}'
    assert verify("robot.move(x=2, path=[1, 2.0])", move).verdict == "right"
    assert verify("robot.move(x=2.01, path=(1, 2))", move).verdict == "wrong"
    assert verify("robot.move(x=2.01, path=(1, 2))", move, tolerance=0.01).verdict == "right"


def test_order_matters_only_where_it_is_asked_for():
    reference = '[{"name": "weather", "arguments": {"city": "Paris"}}, {"name": "weather", "arguments": {"city": "Rome"}}]'
    swapped = "[weather(city='Rome'), weather(city='Paris')]"
    assert verify(swapped, reference).verdict == "right"
    assert verify(swapped, reference, order=True).detail.startswith("weather: wrong value of 'city'")


def test_alternatives_as_bfcl_has_them():
    reference = '[{"weather": {"city": ["Paris", "Paris, FR"], "days": [2, ""], "unit": ["", "fahrenheit"]}}]'
    verdicts = {
        text: verify(text, reference, alternatives=True).verdict
        for text in ("weather(city='Paris, FR')", "weather(city='paris', days=2)", "weather(city='Paris', days=3)", "weather(city='Rome')")
    }
    assert list(verdicts.values()) == ["right", "right", "wrong", "wrong"]


def test_matching_is_not_greedy():
    """The first expected call fits both, the second only the first: a greedy match would fail."""
    rules = Rules(lambda name, argument: (False, None), alternatives=True)
    expected = [Call("f", {"a": [1, 2]}), Call("f", {"a": [1]})]
    assert difference([Call("f", {"a": 1}), Call("f", {"a": 2})], expected, rules, False) is None
    assert difference([Call("f", {"a": 2}), Call("f", {"a": 2})], expected, rules, False) == ("f: wrong value of 'a': found 2, expected 1")


def test_no_call_expected_and_no_reference():
    assert verify("It cannot be told.", "[]").verdict == "right"
    assert verify("weather(city='Paris')", "[]").detail == "1 calls, expected 0"
    assert verify("weather(city='Rome')", None).verdict == "error"
    assert verify("weather(city='Rome')", None, compare=False).verdict == "right"
    assert verify("weather(days=1)", None, compare=False).verdict == "wrong"
    assert verify("anything(x=1)", '{"anything": {"x": 1}}', {}, tools=None).verdict == "right"
    assert verify("weather(city='Paris')", PARIS, {}).detail == "the prompt has no 'tools', where its tools should be"
    assert verify("weather(city='Paris')", None, {**META, "gold": json.loads(PARIS)}, expected="gold").verdict == "right"
    assert verify("weather(city='Paris')", "nothing").verdict == "error"
    broken = {"tools": [{"name": "weather", "parameters": {"properties": {"city": {"type": "text"}}}}]}
    assert verify("weather(city='Paris')", PARIS, broken).verdict == "error"


def test_what_it_needs_of_a_prompt():
    made = make(Scorer(verifier="tool_call", params={"expected": "gold"}))
    assert made.fields() == ("tools", "gold") and made.references is False
    assert make(Scorer(verifier="tool_call")).references is True


def test_tools_in_every_known_shape():
    schema = {"properties": {"a": {"type": "integer"}}}
    shapes = [
        [{"name": "f", "parameters": schema}],
        [{"type": "function", "function": {"name": "f", "parameters": schema}}],
        [{"name": "f", "input_schema": schema}],
        {"f": {"parameters": schema}},
        json.dumps([{"name": "f", "parameters": schema}]),
    ]
    assert all(by_name(shape) == {"f": schema} for shape in shapes)
    for wrong in (7, [7], [{"parameters": {}}], "no"):
        with pytest.raises(ValueError, match=r"tool|JSON|Expecting"):
            by_name(wrong)
