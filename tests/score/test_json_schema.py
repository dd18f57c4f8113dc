"""json_schema: which JSON of an answer counts, what its schema says of it, and the comparison with a reference."""

import json

import pytest

from engine.errors import SpecError
from engine.score import Answer, make
from engine.score.json_text import difference, values
from engine.spec import Scorer

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


def verify(response, reference=None, meta=None, **params):
    return make(Scorer(verifier="json_schema", params=params)).verify(Answer(response, reference, None, meta or {}))


@pytest.mark.parametrize(
    ("response", "verdict", "detail"),
    [
        ('{"name": "Ada", "age": 36}', "right", None),
        ('It is:\n```json\n{"name": "Ada"}\n```\nIs it {"good"}?', "right", None),
        ('first {"name": 1}, then {"name": "Ada"}.', "right", None),
        ('first {"name": "Ada"}, then {"name": 1}.', "wrong", "$.name: 1 is not of type 'string'"),
        ('{"age": -1}', "wrong", "$: 'name' is a required property"),
        ('{"name": "Ada", "age": -1}', "wrong", "$.age: -1 is less than the minimum of 0"),
        ('{"name": "Ada", "job": 1}', "wrong", "$: Additional properties are not allowed ('job' was unexpected)"),
        ("her name is Ada", "unparseable", "there is no JSON"),
        ('{"name": "Ada"', "unparseable", "there is no JSON"),
        ('{"name": NaN}', "unparseable", "there is no JSON"),
        ('```json\n{"name": "Ada"', "unparseable", "there is no JSON"),
        ("[" * 200_000, "unparseable", "there is no JSON"),
        ("", "unparseable", "there is no JSON"),
    ],
)
def test_the_last_json_of_an_answer_against_the_schema(response, verdict, detail):
    found = verify(response, json_schema=PERSON)
    assert (found.verdict, found.detail, found.value) == (verdict, detail, float(verdict == "right"))


def test_the_first_one_and_the_prompts_own_schema():
    both = 'first {"name": "Ada"}, then {"name": 1}.'
    assert verify(both, json_schema=PERSON, which="first").verdict == "right"
    assert verify(both, meta={"schema": PERSON}).verdict == "wrong"
    assert verify(both, meta={"schema": json.dumps(PERSON)}, which="first").verdict == "right"
    assert verify("[1, 2]", meta={"form": {"type": "array", "maxItems": 1}}, field="form").detail == "$: [1, 2] is too long"
    assert make(Scorer(verifier="json_schema")).fields() == ("schema",)
    assert make(Scorer(verifier="json_schema", params={"json_schema": PERSON})).fields() == ()


def test_a_schema_that_cannot_be_used_is_an_error_and_nothing_is_fetched():
    assert "no 'schema'" in verify("{}").detail and verify("{}").verdict == "error"
    assert "not a JSON Schema" in verify("{}", meta={"schema": {"type": "thing"}}).detail
    far = {"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    found = verify('{"a": 1}', meta={"schema": far})
    assert found.verdict == "error" and "http://127.0.0.1:9/schema.json" in found.detail and "nothing is fetched" in found.detail
    near = {"$defs": {"small": {"maximum": 3}}, "properties": {"a": {"$ref": "#/$defs/small"}}}
    assert verify('{"a": 1}', meta={"schema": near}).verdict == "right" and verify('{"a": 9}', meta={"schema": near}).verdict == "wrong"
    with pytest.raises(SpecError, match="not a JSON Schema"):
        make(Scorer(verifier="json_schema", params={"json_schema": {"type": "thing"}}))
    with pytest.raises(SpecError, match="give `json_schema`"):
        make(Scorer(verifier="json_schema", params={"field": None}))


def test_a_value_deeper_than_a_recursive_schema_can_follow():
    schema = {"type": "array", "items": {"$ref": "#"}}
    assert verify("[[], [[]]]", json_schema=schema).verdict == "right"
    assert verify("[" * 900 + "]" * 900, json_schema=schema).verdict in ("right", "unparseable")


def test_comparison_with_the_reference():
    reference = '{"a": [1, 2.0], "b": {"c": true}}'
    assert verify('{"b": {"c": true}, "a": [1.0, 2]}', reference, field=None, compare="equal").verdict == "right"
    told = verify('{"b": {"c": 1}, "a": [1, 2]}', reference, field=None, compare="equal")
    assert (told.verdict, told.detail) == ("wrong", "$.b.c: found 1, expected true")
    more = '{"a": [1, 2], "b": {"c": true, "d": 0}}'
    assert verify(more, reference, field=None, compare="equal").detail == "$.b: unexpected key 'd'"
    assert verify(more, reference, field=None, compare="subset").verdict == "right"
    assert verify("[1.001]", "[1]", field=None, compare="equal", tolerance=0.01).verdict == "right"
    assert verify("[1]", None, field=None, compare="equal").verdict == "error" == verify("[1]", "no", field=None, compare="equal").verdict
    assert make(Scorer(verifier="json_schema", params={"json_schema": PERSON})).references is False


def test_where_two_values_differ():
    assert difference([1, [2]], [1, [2]]) is None and difference(None, False) == "$: found null, expected false"
    assert difference([1], [1, 2]) == "$: 1 items, expected 2" and difference({}, {"a": 1}) == "$: no key 'a'"
    assert difference("1", 1) == '$: found "1", expected 1' and difference(0.0, 0) is None


def test_every_json_of_a_text():
    assert values('a [1] b {"c": [2]} d [x] "e"') == [[1], {"c": [2]}]
    assert values("```\n1\n```\n```json\n[2]\n```") == [1, [2]] and values("7") == [7] and values("none") == []
