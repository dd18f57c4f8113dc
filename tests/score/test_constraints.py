"""The verifier constraints: strict and loose, all and share, what is wrong with rows, and a run of it."""

import pytest

from engine.score import Answer, make
from engine.score.constraint import kinds
from engine.score.constraints import variants
from engine.spec import Scorer

COMMA, WORDS = "punctuation:no_comma", "length_constraints:number_words"


def verify(response, names, kwargs=None, meta=None, **params):
    asked = {"instruction_id_list": names, "kwargs": kwargs} if meta is None else meta
    return make(Scorer(verifier="constraints", params=params)).verify(Answer(response, meta=asked))


def test_right_only_where_all_are_followed():
    kwargs = [{}, {"num_words": 3, "relation": "at least"}]
    assert verify("one two three", [COMMA, WORDS], kwargs) == (1.0, "right", None, None)
    found = verify("one, two", [COMMA, WORDS], kwargs)
    assert (found.value, found.verdict) == (0.0, "wrong")
    assert found.detail == f"{COMMA}: found 1 commas, expected none; {WORDS}: found 2 words, expected at least 3"


def test_share_is_that_of_the_instructions_followed():
    kwargs = [{}, {"num_words": 3, "relation": "at least"}, {"keywords": ["two"]}]
    found = verify("one, two", [COMMA, WORDS, "keywords:existence"], kwargs, value="share")
    assert (found.value, found.verdict) == (1 / 3, "wrong")
    assert verify("one two three", [COMMA, WORDS, "keywords:existence"], kwargs, value="share").value == 1.0


def test_null_arguments_are_left_out():
    """Data sets as tables hold every key for every instruction, null where it is not used."""
    kwargs = [{"num_words": None, "relation": None, "keywords": None}, {"num_words": 1, "relation": "at least", "keywords": None}]
    assert verify("one", [COMMA, WORDS], kwargs).verdict == "right"
    assert verify("one", [COMMA, WORDS], [None, {"num_words": 1.0, "relation": "at least"}]).verdict == "right"
    assert verify("one", [COMMA]).verdict == "right"


@pytest.mark.parametrize("response", ["", " \n\t"])
def test_an_empty_answer_is_unparseable(response):
    found = verify(response, [COMMA], [{}])
    assert (found.value, found.verdict) == (0.0, "unparseable")


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({}, "expected a list of names of instructions at 'instruction_id_list', found nothing"),
        ({"instruction_id_list": []}, "found []"),
        ({"instruction_id_list": COMMA}, f'found "{COMMA}"'),
        ({"instruction_id_list": ["punctuation:no_coma"], "kwargs": [{}]}, f"did you mean '{COMMA}'"),
        ({"instruction_id_list": [COMMA, WORDS], "kwargs": [{}]}, "expected a list of 2 objects at 'kwargs'"),
        ({"instruction_id_list": [WORDS], "kwargs": [{"num_words": 3}]}, "relation: the instruction"),
        ({"instruction_id_list": [WORDS], "kwargs": [{"num_words": 3, "relation": "at most"}]}, "'less than' or 'at least'"),
        ({"instruction_id_list": [WORDS], "kwargs": [{"num_words": -1, "relation": "at least"}]}, "greater than or equal to 0"),
        ({"instruction_id_list": [WORDS], "kwargs": [{"num_word": 3, "relation": "at least"}]}, "did you mean 'num_words'"),
        ({"instruction_id_list": [WORDS], "kwargs": ["3"]}, "expected an object with its arguments, found '3'"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": []}]}, "at least 1 item"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["C++ ("]}]}, "set literal: true"),
        ({"instruction_id_list": ["language:response_language"], "kwargs": [{"language": "english"}]}, "no language of this code"),
        ({"instruction_id_list": ["keywords:letter_frequency"], "kwargs": [{"letter": "ab"}]}, "expected one character"),
    ],
)
def test_what_cannot_be_checked_is_an_error(meta, said):
    found = verify("some answer", None, meta=meta)
    assert (found.value, found.verdict) == (0.0, "error")
    assert said in found.detail


def test_an_error_says_so_every_time():
    verifier = make(Scorer(verifier="constraints"))
    row = Answer("x", meta={"instruction_id_list": [WORDS], "kwargs": [{}]})
    assert [verifier.verify(row).verdict for _ in range(2)] == ["error", "error"]


def test_loose_leaves_out_lines_and_asterisks():
    quoted = 'Sure, here it is:\n"One two three."\nAnything else?'
    assert verify(quoted, ["startend:quotation"]).verdict == "wrong"
    assert verify(quoted, ["startend:quotation"], mode="loose").verdict == "right"
    ending = "The end.\n\n**Bye now.**"
    kwargs = [{"end_phrase": "Bye now."}]
    assert verify(ending, ["startend:end_checker"], kwargs).verdict == "wrong"
    assert verify(ending, ["startend:end_checker"], kwargs, mode="loose").verdict == "right"


def test_loose_may_take_another_text_for_each_instruction():
    response = "Sure, here you go:\nfirst second"
    names = [COMMA, "keywords:existence"]
    assert verify(response, names, [{}, {"keywords": ["sure"]}], mode="loose").verdict == "right"
    found = verify("a,\nb,\nc,", [COMMA], mode="loose")
    assert (found.verdict, found.detail) == ("wrong", f"{COMMA}: found 3 commas, expected none")


def test_what_loose_looks_at():
    found = {text.plain for text in variants("*a*\nb\n*c*")}
    assert found == {"b\n*c*", "*a*\nb", "b", "a\nb\nc", "b\nc", "a\nb"}
    assert variants("one line") == []


def test_keys_and_literal_words_are_settings():
    meta = {"asked": ["keywords:existence"], "how": [{"keywords": ["a.c"]}]}
    assert verify("abc", None, meta=meta, instructions="asked", arguments="how").verdict == "right"
    assert verify("abc", None, meta=meta, instructions="asked", arguments="how", literal=True).verdict == "wrong"
    assert verify("the a.c way", None, meta=meta, instructions="asked", arguments="how", literal=True).verdict == "right"
    own = {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["C++"], "literal": True}]}
    assert verify("in C++", None, meta=own).verdict == "right"
    verifier = make(Scorer(verifier="constraints", params={"instructions": "asked", "arguments": "how"}))
    assert verifier.fields() == ("asked", "how") and not verifier.references


def test_there_are_the_25_of_ifeval():
    assert len(kinds()) == 25
    assert all(kind.__module__.rsplit(".", 1)[1] == name.split(":")[0] for name, kind in kinds().items())


def test_it_sees_what_scoring_gives_it():
    """Through the operator that scores batches: the keys of prompts.meta come as JSON."""
    import json

    import pyarrow as pa

    from engine.score.verify import ASKED, Verify

    metas = [json.dumps({"instruction_id_list": [COMMA], "kwargs": [{}]}), None]
    columns = [["1", "2"], ["a, b", "a"], [None] * 2, [None] * 2, metas]
    batch = pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], names=list(ASKED))
    made = Verify(make(Scorer(verifier="constraints")))(batch)
    assert made["verdict"].to_pylist() == ["wrong", "error"]
    assert made["value"].to_pylist() == [0.0, 0.0]
