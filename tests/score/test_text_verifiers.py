"""exact and regex, and what a wrong scorer entry says."""

import pytest

from engine import score
from engine.errors import SpecError
from engine.score import Answer, make, verifiers
from engine.spec import Scorer
from fakes import spec_of


def verify(name, response, reference=None, **params):
    return make(Scorer(verifier=name, params=params)).verify(Answer(response, reference)).verdict


def test_exact():
    assert verify("exact", " Paris\n", "Paris") == "right"
    assert verify("exact", "paris", "Paris") == "wrong"
    assert verify("exact", "PARIS", "paris", lower=True) == "right"
    assert verify("exact", " x", "x", strip=False) == "wrong"
    assert verify("exact", "A) no B) yes", "B", pattern=r"([A-D])\)") == "right"
    assert verify("exact", "none", "B", pattern=r"([A-D])\)") == "unparseable"
    assert verify("exact", "x", None) == "error"


def test_regex():
    assert verify("regex", "it has 3 parts", pattern=r"\d parts") == "right"
    assert verify("regex", "it has no parts", pattern=r"\d parts") == "wrong"
    assert verify("regex", "Answer: B.", "B", pattern=r"Answer: (?P<choice>\w)", group="choice") == "right"
    assert verify("regex", "Answer: C.", "B", pattern=r"Answer: (\w)", group=1) == "wrong"
    assert verify("regex", "I do not know", "B", pattern=r"Answer: (\w)", group=1) == "unparseable"


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        ({"verifier": "maths"}, "no score method 'maths'", "'math'"),
        ({"verifier": "exact", "params": {"lowr": True}}, "no such setting; did you mean 'lower'", "strip"),
        ({"verifier": "exact", "params": {"strip": "perhaps"}}, "params.strip", ""),
        ({"verifier": "regex", "params": {"pattern": "("}}, "not a regular expression", ""),
        ({"verifier": "regex"}, "params.pattern", ""),
        ({"verifier": "regex", "params": {"pattern": "x", "group": 2}}, "has no group 2", ""),
        ({"verifier": "math", "params": {"timeout": 0}}, "params.timeout", ""),
    ],
)
def test_a_wrong_entry_is_a_spec_error(entry, message, hint):
    with pytest.raises(SpecError, match=message.replace("(", r"\(")) as caught:
        make(Scorer.model_validate(entry))
    assert hint in caught.value.hint


def test_a_verifier_that_compares_needs_a_reference():
    with pytest.raises(SpecError, match="names no column"):
        score.check(spec_of(score=[{"verifier": "math"}]))
    score.check(spec_of(score=[{"verifier": "arithmetic_steps"}]))
    score.check(spec_of(score=[{"verifier": "math"}], prompts={"train": "x", "fields": {"reference": "answer"}}))


def test_helpers_are_no_methods():
    names = set(verifiers.names())
    assert {"arithmetic_steps", "exact", "math", "regex"} <= names
    assert not {"steps", "verify", "combine", "latex", "latex_worker", "plain", "arithmetic"} & names
