"""Numbers from votes: the checks of Self-Rewarding and TULU 3, probabilities of words, what has no number."""

from __future__ import annotations

import math

import pytest

from engine.score.judge.prompt import Prompt
from engine.score.judge.votes import aggregate, by_probability, shares_of, vote
from engine.server import Token

YES = Prompt(about="x", question="{question} {answer}", read="logprobs", values={"Yes": 1, "No": 0})
DUEL = Prompt(about="x", question="{question} {first} {second}", compares=True, read="logprobs", values={"A": 1, "B": 0, "tie": 0.5})


@pytest.mark.parametrize(
    ("votes", "mean"), [((4, 4, 5), 4.333), ((3, 4, 3), 3.333), ((5, 4, 4), 4.333), ((2, 3, 3), 2.667), ((4, None, 5), 4.5)]
)
def test_means_of_three_votes(votes, mean):
    assert aggregate(votes, "mean") == pytest.approx(mean, abs=5e-4)


def test_other_aggregates_and_nothing_to_aggregate():
    assert aggregate((5, 1, 4, None), "median") == 4 and aggregate((1, 4), "median") == 2.5
    assert aggregate((3, 1, 3, None), "majority") == 3 and aggregate((5, 2, 2, 5), "majority") == 2
    assert {how: aggregate((None, None), how) for how in ("mean", "median", "majority")} == dict.fromkeys(("mean", "median", "majority"))


def test_a_rationale_is_what_stands_before_the_vote():
    one = Prompt(about="x", question="{question} {answer}", parse=r"Score: (\d)", range=(0, 5))
    assert vote(one, "Well put.\nScore: 4")[:3] == (4, "Well put.\nScore: 4", "Well put.")
    assert vote(one, "Well put.\nScore: 9")[:3] == (None, "Well put.\nScore: 9", None)


def token(text, **top):
    return Token(text, -0.1, {name.replace("_", " "): math.log(p) for name, p in top.items()})


def test_spellings_of_a_word_add_up_and_other_words_do_not_count():
    shares = shares_of(YES, [token("Yes", Yes=0.4, _yes=0.2, No=0.15, YES=0.05, Maybe=0.2)])
    assert shares == pytest.approx([0.65 / 0.8, 0.15 / 0.8])
    assert by_probability(YES, shares).value == pytest.approx(0.8125)


def test_the_first_token_that_is_a_word_is_read():
    shares = shares_of(YES, [token("\n", **{"\n": 0.9, "Yes": 0.1}), token(" No", _No=0.75, _Yes=0.25)])
    assert shares == pytest.approx([0.25, 0.75])
    assert shares_of(YES, [token("Well", Yes=0.3, No=0.2)]) is None and shares_of(YES, []) is None


def test_a_word_that_is_not_listed_has_no_share():
    assert shares_of(YES, [Token("Yes", -0.1, {})]) == [1, 0]


def test_a_comparison_has_a_margin():
    one = by_probability(DUEL, (0.6, 0.3, 0.1))
    assert one.value == pytest.approx(0.65) and one.margin == pytest.approx(math.log(2))
    assert by_probability(YES, (0.5, 0.5)).margin is None
