"""The questions that people ask of scorers and judges, over a small lake whose answers were worked out by hand."""

from __future__ import annotations

import pytest

from engine import sqlfile
from engine.errors import QueryError
from judged_lake import answer, judged, label, score
from small_lake import SmallLake


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return judged(tmp_path_factory.mktemp("lake"))


def ask(small, name, **params):
    file = sqlfile.read(sqlfile.find(f"queries/{name}"))
    return small.session().table(file.text, file.bind(params)).to_pylist()


def only(rows, **equal):
    found = [row for row in rows if all(row[key] == value for key, value in equal.items())]
    assert len(found) == 1, found
    return found[0]


def test_scorers_agree_on_verdicts_and_on_numbers(small):
    rows = ask(small, "scorer_agreement")
    row = only(rows, first_scorer="exact", second_scorer="judge")
    # exact: right, wrong, wrong; the judge approves (from 1) of c only; it could not read d
    assert [row[k] for k in ("answers", "compared", "both_approve", "neither", "only_first", "only_second", "without_score")] == [
        *(4, 3, 0, 1, 1, 1, 1),
    ]
    assert (row["agreement"], row["kappa"]) == pytest.approx((1 / 3, -0.5))
    assert (row["pearson"], row["spearman"]) == pytest.approx((0.277350, 0.0), abs=1e-6)
    row = only(ask(small, "scorer_agreement", bar=0.5), first_scorer="exact", second_scorer="judge")
    assert (row["agreement"], row["kappa"]) == pytest.approx((2 / 3, 0.4))
    row = only(rows, first_scorer="exact", second_scorer="human")
    assert (row["compared"], row["agreement"], row["kappa"]) == (2, 0.5, 0.0)
    assert ask(small, "scorer_agreement", part="eval") == [] == ask(small, "scorer_agreement", experiment="other")


def test_equal_scorers_agree_beyond_chance_and_constant_ones_have_no_kappa(tmp_path):
    lake = SmallLake(tmp_path)
    for name, values in (("one", (1, 0, 1)), ("two", (1, 0, 1)), ("yes", (1, 1, 1))):
        lake.put("scores", f"rollout/{name}", [score(n, name, float(v)) for n, v in zip("abc", values, strict=True)])
    rows = ask(lake, "scorer_agreement")
    same = only(rows, first_scorer="one", second_scorer="two")
    assert (same["agreement"], same["kappa"], same["pearson"], same["spearman"]) == pytest.approx((1, 1, 1, 1))
    constant = only(rows, first_scorer="one", second_scorer="yes")
    assert constant["kappa"] == pytest.approx(0) and constant["pearson"] is None
    lake.put("scores", "rollout/one", [score(n, "one", 1.0) for n in "abc"])
    assert only(ask(lake, "scorer_agreement"), first_scorer="one", second_scorer="yes")["kappa"] is None


def test_position_flips(small):
    (row,) = ask(small, "position_flips")
    assert (row["judgements"], row["unread"], row["ties"]) == (6, 1, 1)
    assert (row["first_wins"], row["first_probability"]) == pytest.approx((3 / 4, 2.9 / 5))
    assert (row["pairs"], row["flips"], row["to_tie"], row["flip_rate"]) == (2, 1, 0, 0.5)


def test_a_judge_that_was_asked_in_one_order_has_places_but_no_flips(tmp_path):
    lake = SmallLake(tmp_path)
    pair = {"prompt_id": "p1", "left_id": "a", "right_id": "b", "judge": "j", "judge_version": "v", "order": "forward"}
    lake.put("preferences", "rollout/j", [pair | {"probability": 0.8}])
    (row,) = ask(lake, "position_flips")
    assert (row["judgements"], row["first_wins"], row["pairs"], row["flip_rate"]) == (1, 1.0, None, None)


def test_length_bias(small):
    rows = ask(small, "length_bias")
    first, second = (only(rows, scorer="exact", round=r) for r in (0, 1))
    assert (first["items"], first["longer_wins"], first["mean_length"], first["mean_score"]) == (4, 0.5, 3.5, 0.5)
    assert first["correlation"] == pytest.approx(-(10**-0.5)) and first["matched_score"] == 0.5
    # slope over both rounds: (-1 + 3) / (10 + 18) per character; round 1 is 1.5 characters longer
    assert (second["longer_wins"], second["correlation"]) == pytest.approx((1.0, 1.0))
    assert second["matched_score"] == pytest.approx(0.5 - 1.5 / 14)
    duel = only(rows, kind="judge")
    assert (duel["scorer"], duel["items"], duel["longer_wins"], duel["mean_length"]) == ("duel", 4, 0.75, 3.5)


def test_lengths_in_tokens_and_a_unit_that_is_none(small):
    assert ask(small, "length_bias", unit="tokens") == []  # these answers were not counted in tokens
    with pytest.raises(QueryError, match="expected characters or tokens, found words"):
        ask(small, "length_bias", unit="words")


def test_self_preference(small):
    duel, rating = ask(small, "self_preference")
    assert (rating["scorer"], rating["own_answers"], rating["other_answers"]) == ("judge", 2, 1)
    assert (rating["own_mean"], rating["other_mean"], rating["gap"]) == pytest.approx((0.9, 0.2, 0.7))
    assert rating["prompts_of_both"] == 1 and rating["gap_on_same_prompts"] == pytest.approx(0.6)
    assert (duel["scorer"], duel["contests"], duel["own_wins"]) == ("duel", 4, 0.75)


def test_judge_costs(small):
    duel, rating = ask(small, "judge_costs", prompt_price=2, response_price=10)
    assert [rating[k] for k in ("scorer", "answers", "asked", "prompt_tokens", "response_tokens", "seconds")] == ["judge", 4, 3, 30, 6, 1.5]
    assert rating["cost"] == pytest.approx(120 / 1e6)
    assert [duel[k] for k in ("scorer", "answers", "asked", "prompt_tokens", "seconds")] == ["duel", 6, 6, 120, 1.5]
    assert {row["cost"] for row in ask(small, "judge_costs")} == {0.0}


def test_verdict_counts(small):
    rows = ask(small, "verdict_counts", part="rollout")
    row = only(rows, scorer="exact", round=0)
    assert (row["answers_of"], row["answers"], row["right"], row["wrong"], row["runner"]) == ("rollout", 4, 2, 2, None)
    assert only(rows, scorer="exact", runner="jail")["timeout"] == 1 == only(rows, scorer="exact", runner="monty")["right"]
    row = only(rows, scorer="judge")
    assert (row["unparseable"], row["without_verdict"], row["without_value"]) == (1, 3, 1)
    assert ask(small, "verdict_counts", part="eval") == []


def test_false_negatives_weigh_each_label_by_what_it_stands_for(tmp_path):
    """20 wrong answers: of 4 near ones 2 are labelled (1 right), of the 16 others 4 (1 right)."""
    lake = SmallLake(tmp_path)
    names = [f"w{i:02d}" for i in range(20)]
    lake.put("generations", "rollout", [answer(n, text=n) for n in names])
    lake.put("scores", "rollout/exact", [score(n, "exact", 0.0, "wrong") for n in names])
    labels = [label(n, "right" if n in ("w00", "w04") else "wrong", 2.0 if n < "w04" else 4.0, n) for n in (*names[:2], *names[4:8])]
    lake.put("scores", "rollout/human", labels)
    (row,) = ask(lake, "false_negatives")
    assert [row[k] for k in ("scorer", "verdict", "answers", "audited", "accepted", "covered")] == ["exact", "wrong", 20, 6, 2, 1.0]
    assert (row["share"], row["accepted_of_all"], row["effective"]) == pytest.approx((0.3, 6.0, 400 / 72))
    assert (row["low"], row["high"]) == pytest.approx((0.077567, 0.685955), abs=1e-6)
    # a text that has changed under its id is no longer what was labelled
    lake.put("generations", "rollout", [answer(n, text=n if n != "w00" else "other") for n in names])
    (row,) = ask(lake, "false_negatives")
    assert (row["audited"], row["accepted"], row["covered"]) == (5, 1, pytest.approx(18 / 20))


def test_false_negatives_by_verdict(small):
    (row,) = ask(small, "false_negatives")
    assert (row["scorer"], row["audited"], row["share"], row["covered"]) == ("exact", 2, 0.5, 1.0)
    assert ask(small, "false_negatives", verdict="right") == []
