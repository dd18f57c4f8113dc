"""Final answers: the verifiers' own, and those of the macro."""

import pytest

from engine.score import Answer, Scorer, make
from engine.score.finals import by_macro, extractor
from fakes import spec_of


def _final(verifier, text, meta=None, **params):
    return make(Scorer(verifier=verifier, params=params)).final(Answer(text, meta=meta or {}))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2+2. The answer is 1,000.", "1000"),
        ("#### $7.50", "15/2"),
        (r"so \boxed{\frac{1}{2}}", "1/2"),
        ("half, 0.5", "1/2"),
        ("a share of 20%", "20%"),
        (r"\boxed{x + 1}", "x+1"),
        (r"the answer is $x+1$.", "x+1"),
        ("I do not know", None),
        ("", None),
    ],
)
def test_math(text, found):
    assert _final("math", text) == found


def test_exact_and_choice():
    assert _final("exact", "  Paris ") == "Paris"
    assert _final("exact", " ") is None
    assert _final("exact", "say: A, then B", pattern="[AB]") == "B"
    assert _final("exact", "nothing", pattern="[AB]") is None
    assert _final("choice", "The answer is (C).") == "C"
    assert _final("choice", "The answer is A or B") is None
    assert _final("choice", "Answer: A", options="options") is None, "the prompt has no options"
    assert _final("choice", "It is Rome", {"options": ["Paris", "Rome"]}, options="options") == "B"


def test_the_macro_for_everything_else():
    assert by_macro(["Answer: 1,000.", r"\boxed{1000}", "plain", "", "  ", "Answer: 7\n"]) == [
        "1000.0",
        "1000.0",
        "plain",
        None,
        None,
        "7.0",
    ]
    assert by_macro([]) == []


def test_the_first_entry_of_score_decides():
    found = extractor(spec_of(score=[{"verifier": "math"}, {"verifier": "exact"}], combine="math * exact"))
    assert found and found[0].column == "math"
    assert extractor(spec_of(score=[{"verifier": "format", "params": {"tags": ["a"]}}, {"verifier": "math"}], combine="math")) is None
    assert extractor(spec_of(score=[{"measure": "logprob"}])) is None
    assert extractor(spec_of()) is None
