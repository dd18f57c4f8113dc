"""choice: which letter an answer settles on, options as data sets give them, and what is ambiguous."""

import pytest

from engine.errors import SpecError
from engine.score import Answer, make
from engine.spec import Scorer

CITIES = ["Paris", "London", "New York", "York"]


def verify(response, reference="B", meta=None, **params):
    return make(Scorer(verifier="choice", params=params)).verify(Answer(response, reference, meta=meta or {}))


@pytest.mark.parametrize(
    "response",
    [
        "B",
        " b) is out of the question here.\nAnswer: B",
        "B.",
        "**B**",
        "(B) London",
        "B. London\n\n(A) is the capital of another country.",
        "The answer is (B)",
        "The correct answer is: **B**.",
        "the answer is (b)",
        "Answer: B) London, since A and C are not.",
        "**Answer:** B",
        r"So $\boxed{B}$.",
        r"\boxed{\text{(B)}} is it",
        "First A looks right, but B is the correct answer.",
        "I would go with option B because (A) is wrong.",
        "Long reasoning about A) and C).\n#### B",
        "The answer is B, and A is wrong.",
        "The answer is A. No, wait: the answer is B.",
        "It must be (B), I think.",
        "The final answer is therefore B",
        "Answer:\n\nB",
    ],
)
def test_it_settles_on_b(response):
    found = verify(response)
    assert (found.value, found.verdict) == (1.0, "right")
    assert verify(response, "C").verdict == "wrong"
    assert verify(response, "C").detail == "found B, expected C"


@pytest.mark.parametrize(
    "response",
    [
        "The answer is A or B.",
        r"\boxed{A, B}",
        "Answer: (A) and (B)",
        "A. Paris\nB. London",
        "It may be (A) or even (B).",
        "**A** and **B**",
    ],
)
def test_two_letters_are_ambiguous(response):
    found = verify(response)
    assert (found.value, found.verdict, found.detail) == (0.0, "unparseable", "ambiguous: found A, B")


@pytest.mark.parametrize(
    "response", ["", "I do not know.", "A dog has four legs", "The answer is not clear", "The answer is Correct", "E."]
)
def test_no_option_is_unparseable(response):
    assert verify(response)[1:3] == ("unparseable", "no option found")


def test_statements_that_differ():
    response = "The answer is A. On reflection, the answer is B."
    assert verify(response).verdict == "right"
    found = verify(response, several="unparseable")
    assert (found.verdict, found.detail) == ("unparseable", "ambiguous: found A, B")
    assert verify("The answer is B. So: \\boxed{B}", several="unparseable").verdict == "right"


@pytest.mark.parametrize(
    "given",
    [CITIES, dict(zip("ABCD", CITIES, strict=True)), {"label": list("ABCD"), "text": CITIES}],
)
def test_the_text_of_an_option_counts(given):
    def scored(response, reference="C"):
        return verify(response, reference, {"options": given}, options="options").verdict

    assert scored("It is new  york!") == "right"
    assert scored("The answer is New York, not London.") == "right"
    assert scored("The answer is York.", "D") == "right"
    assert scored("London") == "wrong"
    assert scored("Paris or London") == "unparseable"
    assert scored("Yorkshire") == "unparseable"
    assert scored("The answer is (C) New York", "new york") == "right"


def test_labels_are_those_of_the_data():
    meta = {"options": {"label": ["1", "2", "3"], "text": ["ice", "water", "steam"]}}
    assert verify("The answer is 2.", "2", meta, options="options").verdict == "right"
    assert verify("2) water", "3", meta, options="options").verdict == "wrong"
    assert verify("Answer: E", "E", letters="ABCDE").verdict == "right"


def test_a_reference_that_counts():
    assert verify("B", "1", index=True).verdict == "right"
    assert verify("B", "4", index=True)[1:3] == ("error", "expected the reference to be a number below 4, found '4'")


@pytest.mark.parametrize(
    ("reference", "meta", "said"),
    [
        (None, {"options": CITIES}, "expected the reference to be one of A, B, C, D or the text of an option, found None"),
        ("E", {"options": CITIES}, "found 'E'"),
        ("A", {}, "expected 2 to 4 options at 'options' (params: letters), found None"),
        ("A", {"options": ["one"]}, "found ['one']"),
        ("A", {"options": CITIES + CITIES}, "expected 2 to 4 options"),
        ("A", {"options": {"label": ["A", "B"], "text": ["x"]}}, "expected 2 to 4 options"),
    ],
)
def test_rows_that_cannot_be_scored_are_errors(reference, meta, said):
    found = verify("A", reference, meta, options="options")
    assert (found.value, found.verdict) == (0.0, "error")
    assert said in found.detail


def test_what_it_needs():
    assert make(Scorer(verifier="choice")).fields() == ()
    assert make(Scorer(verifier="choice", params={"options": "choices"})).fields() == ("choices",)
    with pytest.raises(SpecError, match="expected different letters or digits"):
        make(Scorer(verifier="choice", params={"letters": "AAB"}))
