"""sql/pairs: pairs that scores make, with the numbers of the catalogue (recipes/preference.md)."""

from __future__ import annotations

import random

import pytest

from engine.errors import QueryError
from pairs_lake import by_scores, change, column, ids, pairs, rows
from small_lake import SmallLake

WORKFLOW = [0.2, 1.5, -0.7, 0.9]
BY_SCORE = (
    "best_worst",
    "best_second",
    "best_random",
    "random_pair",
    "all_ordered",
    "upper_lower",
    "right_wrong",
    "nearest_length",
    "margin_band",
    "length_penalised",
    "by_win_rate_of_scores",
    "soft_label",
    "siblings",
    "triple",
)


def samples(found):
    """The sample numbers of chosen and rejected, over all prompts."""
    return {(one.partition("-")[2], two.partition("-")[2]) for one, two in found}


def test_the_pair_choices_of_rlhf_workflow(tmp_path):
    small = by_scores(tmp_path, WORKFLOW)
    best = rows(small, "best_worst")[0]
    assert (best["chosen_id"], best["rejected_id"], best["margin"], best["reason"]) == ("p0-1", "p0-2", 2.2, "score 1.5 against -0.7")
    second = rows(small, "best_second")[0]
    assert (ids([second]), second["margin"]) == ([("p0-1", "p0-3")], pytest.approx(0.6))
    first_two = rows(small, "random_pair", drawn=False)[0]
    assert (ids([first_two]), first_two["margin"]) == ([("p0-1", "p0-0")], 1.3)
    many = by_scores(tmp_path / "many", *[WORKFLOW] * 60)
    assert samples(pairs(many, "best_random")) == {("1", "0"), ("1", "2"), ("1", "3")}
    assert len(samples(pairs(many, "random_pair"))) == 6
    assert pairs(many, "best_random", seed=8) != pairs(many, "best_random") == pairs(many, "best_random")


def test_a_pair_is_the_rows_of_the_round_with_their_prompt(tmp_path):
    row = rows(by_scores(tmp_path, WORKFLOW), "best_worst")[0]
    assert [(m["role"], m["content"], m["weight"]) for m in row["messages"]] == [("user", "ask p0", 0.0)]
    assert [(m["role"], m["content"], m["origin"], m["weight"]) for m in row["chosen"]] == [("assistant", "answer 1", "policy", 1.0)]
    assert (row["origin"], row["source_round"], row["weight"], row["third"], row["extra"]) == ("generation", 0, 1.0, None, None)


@pytest.mark.parametrize("name", BY_SCORE)
def test_prompts_without_a_difference_make_no_pair(tmp_path, name):
    small = by_scores(tmp_path, [1.0, 1.0, 1.0, 1.0], [1.0], [None, 1.0], [None, None], [2.0, 1.0, 0.0])
    found = rows(small, name)
    assert {row["prompt_id"] for row in found} == {"p4"}
    assert all(row["margin"] > 0 for row in found)


@pytest.mark.parametrize("name", BY_SCORE)
def test_neither_scale_nor_order_of_the_rows_changes_the_pairs(tmp_path, name):
    dice = random.Random(3)
    scores = [[float(dice.randint(-3, 3)) for _ in range(6)] for _ in range(8)]
    params = {"weight": 0.0} if name == "length_penalised" else {}
    bar = {"min_score": 1.0} if name in ("right_wrong", "nearest_length") else {}
    as_they_are = pairs(by_scores(tmp_path / "a", *scores), name, **params, **bar)
    bar = {key: 3 * value + 2 for key, value in bar.items()}
    assert pairs(by_scores(tmp_path / "b", *[[3 * s + 2 for s in one] for one in scores]), name, **params, **bar) == as_they_are
    small = by_scores(tmp_path / "c", *scores)
    for table, part in (("generations", "rollout"), ("scores", "rollout/score"), ("scores", "rollout/exact")):
        shuffled = small.lake.read(table, experiment="small", rounds=[0], part=part).to_pylist()
        dice.shuffle(shuffled)
        small.put(table, part, shuffled)
    assert pairs(small, name, **params, **({"min_score": 1.0} if bar else {})) == as_they_are


def test_another_scorer_and_one_that_is_not_there(tmp_path):
    small = by_scores(tmp_path, WORKFLOW)
    column(small, "rm", {"p0-0": 5.0, "p0-1": 1.0, "p0-2": 3.0, "p0-3": None})
    found = rows(small, "best_worst", scorer="rm")
    assert (ids(found), found[0]["margin"], found[0]["reason"]) == ([("p0-0", "p0-1")], 4.0, "rm 5 against 1")
    assert rows(small, "best_worst", scorer="other") == []


def test_ties_at_the_ends_go_to_the_earlier_sample(tmp_path):
    small = by_scores(tmp_path, [13 / 3, 10 / 3, 13 / 3, 8 / 3])  # the votes of self-rewarding, averaged
    found = rows(small, "best_worst")[0]
    assert (ids([found]), found["margin"]) == ([("p0-0", "p0-3")], pytest.approx(1.667, abs=1e-3))
    assert pairs(by_scores(tmp_path / "ties", [0.0, 2.0, 2.0, 0.0]), "best_worst") == [("p0-1", "p0-0")]
    assert pairs(by_scores(tmp_path / "two", [2.0, 2.0, 1.0]), "best_second") == []


def test_all_ordered_pairs_caps_and_shares(tmp_path):
    small = by_scores(tmp_path, [3.0, 2.0, 2.0, 1.0], [1.0, 0.0])
    assert pairs(small, "all_ordered") == [
        ("p0-0", "p0-1"),
        ("p0-0", "p0-2"),
        ("p0-0", "p0-3"),
        ("p0-1", "p0-3"),
        ("p0-2", "p0-3"),
        ("p1-0", "p1-1"),
    ]
    assert pairs(small, "all_ordered", min_margin=1.0) == [("p0-0", "p0-3")]
    capped = pairs(small, "all_ordered", per_prompt=2)
    assert [one[0][:2] for one in capped] == ["p0", "p0", "p1"] and capped == pairs(small, "all_ordered", per_prompt=2)
    many = by_scores(tmp_path / "many", *[[3.0, 2.0, 2.0, 1.0]] * 20)
    assert len(samples(pairs(many, "all_ordered", per_prompt=2))) == 5
    assert len(pairs(small, "all_ordered", share=0.5)) == 3 and len(pairs(small, "all_ordered", share=0.01)) == 1
    six = by_scores(tmp_path / "six", [6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    assert len(pairs(six, "all_ordered")) == 15
    assert len(pairs(six, "all_ordered", ends=2)) == 6  # UPO's code: the two best and the two worst


def test_upper_half_against_lower_half(tmp_path):
    six = by_scores(tmp_path, [1.0, 6.0, 3.0, 5.0, 2.0, 4.0])
    found = pairs(six, "upper_lower")
    assert len(found) == 9
    assert {one for one, _ in found} == {"p0-1", "p0-3", "p0-5"} and {two for _, two in found} == {"p0-0", "p0-2", "p0-4"}
    assert len(pairs(six, "upper_lower", share=0.25)) == 2 and len(pairs(six, "upper_lower", per_prompt=4)) == 4
    odd = by_scores(tmp_path / "odd", [3.0, 2.0, 1.0])
    assert pairs(odd, "upper_lower") == [("p0-0", "p0-2")]


def test_right_against_wrong(tmp_path):
    small = by_scores(tmp_path, [1.0, 1.0, 0.0, 0.0, 0.0], [1.0, 1.0], [0.0])
    assert len(pairs(small, "right_wrong")) == 6
    assert len(pairs(small, "right_wrong", per_prompt=4)) == 4
    once = pairs(small, "right_wrong", balance="answers")
    assert len(once) == 2 and len({one for one, _ in once}) == 2 and len({two for _, two in once}) == 2
    many = by_scores(tmp_path / "many", *[[1.0, 1.0, 0.0, 0.0, 0.0]] * 20)
    assert len(samples(pairs(many, "right_wrong", balance="answers"))) == 6 and len(pairs(many, "right_wrong", balance="answers")) == 40
    with pytest.raises(QueryError, match="balance: expected pairs or answers, found both"):
        rows(small, "right_wrong", balance="both")


def test_judgements_near_the_gold_score_against_those_far_from_it(tmp_path):
    judgements = [-abs(score - 4.0) for score in (4, 2, 5, 4, 1)]  # Self-Rationalization: the gold score is 4
    small = by_scores(tmp_path, [*judgements, None])
    one = pairs(small, "right_wrong", min_score=0.0, max_wrong=-1.0)
    assert one == sorted((w, r) for w in ("p0-0", "p0-3") for r in ("p0-1", "p0-2", "p0-4"))
    two = pairs(small, "right_wrong", min_score=0.0, max_wrong=-2.0)
    assert two == sorted((w, r) for w in ("p0-0", "p0-3") for r in ("p0-1", "p0-4"))
    unread = rows(small, "right_wrong", min_score=0.0, max_wrong=-2.0, unscored="wrong")
    assert len(unread) == 6 and {row["margin"] for row in unread if row["rejected_id"] == "p0-5"} == {None}
    assert pairs(by_scores(tmp_path / "gold", [0.0, 0.0]), "right_wrong", min_score=0.0, max_wrong=-1.0) == []


def test_the_wrong_answer_of_nearest_length(tmp_path):
    small = by_scores(tmp_path, [1.0, 1.0, 0.0, 0.0])
    change(small, response={"p0-0": "x" * 10, "p0-1": "x" * 30, "p0-2": "x" * 26, "p0-3": "x" * 11})
    assert pairs(small, "nearest_length") == [("p0-0", "p0-3")]
    assert pairs(small, "nearest_length", per_prompt=9) == [("p0-0", "p0-3"), ("p0-1", "p0-2")]
    change(small, response_tokens={"p0-0": 5, "p0-1": 9, "p0-2": 5, "p0-3": 9})
    assert pairs(small, "nearest_length", per_prompt=9, unit="tokens") == [("p0-0", "p0-2"), ("p0-1", "p0-3")]
    with pytest.raises(QueryError, match="characters or tokens"):
        rows(small, "nearest_length", unit="words")


def test_margins_within_a_band_and_the_largest_of_the_round(tmp_path):
    small = by_scores(tmp_path, [3.0, 2.0, 0.0], [1.0, 0.5], [9.0, 0.0])
    assert pairs(small, "margin_band", min_margin=0.5, max_margin=4.0) == [("p0-0", "p0-2")]
    assert pairs(small, "margin_band", max_margin=2.5, per_prompt=9) == [("p0-0", "p0-1"), ("p0-1", "p0-2"), ("p1-0", "p1-1")]
    assert pairs(small, "margin_band", fraction=0.67) == [("p0-0", "p0-2"), ("p2-0", "p2-1")]
    assert pairs(small, "margin_band", fraction=0.01) == [("p2-0", "p2-1")]


def test_a_price_for_length_and_the_order_that_undoes_it(tmp_path):
    small = by_scores(tmp_path, [2.0, 1.0])
    change(small, response={"p0-0": "x" * 900, "p0-1": "x" * 100})
    cheap = rows(small, "length_penalised", weight=0.01)[0]
    assert (ids([cheap]), cheap["margin"]) == ([("p0-1", "p0-0")], 7.0)
    raw = rows(small, "length_penalised", weight=0.01, ordered="raw")[0]
    assert (ids([raw]), raw["margin"]) == ([("p0-0", "p0-1")], 1.0)
    with pytest.raises(QueryError, match="penalised or raw, found score"):
        rows(small, "length_penalised", ordered="score")


def test_a_soft_label_is_the_sigmoid_of_the_margin(tmp_path):
    small = by_scores(tmp_path, [1.0, -1.0])
    assert rows(small, "soft_label")[0]["probability"] == pytest.approx(0.880797, abs=1e-6)
    assert rows(small, "soft_label", temperature=4.0)[0]["probability"] == pytest.approx(0.622459, abs=1e-6)


def test_win_rates_of_scores_are_those_of_sppo(tmp_path):
    small = by_scores(tmp_path, [1.0, 0.0, -0.5, 0.5, -1.0])
    row = rows(small, "by_win_rate_of_scores")[0]
    assert (row["chosen_id"], row["rejected_id"]) == ("p0-0", "p0-4")
    assert dict(row["extra"]) == {"win_chosen": pytest.approx(0.710378, abs=1e-6), "win_rejected": pytest.approx(0.289622, abs=1e-6)}
    assert row["probability"] == pytest.approx(0.880797, abs=1e-6)
    alone = dict(rows(small, "by_win_rate_of_scores", include_self=False)[0]["extra"])
    assert alone["win_chosen"] == pytest.approx((5 * 0.710378 - 0.5) / 4, abs=1e-6)


def test_a_triple_is_best_second_and_last(tmp_path):
    small = by_scores(tmp_path, [2.0, 4.5, 3.5, 4.0], [2.0, 1.0], [2.0, 1.0, 1.0])
    (row,) = rows(small, "triple")
    assert (row["third_id"], row["chosen_id"], row["rejected_id"], row["margin"]) == ("p0-1", "p0-3", "p0-0", 2.0)
    assert row["third"][0]["content"] == "answer 1"


def test_the_other_of_tulu_is_drawn_from_the_lower_ones(tmp_path):
    many = by_scores(tmp_path, *[[4.5, 4.0, 3.5, 2.0, 1.0]] * 40)
    assert samples(pairs(many, "best_random", first=4)) == {("0", "1"), ("0", "2"), ("0", "3")}


def test_one_side_is_the_actors(tmp_path):
    small = by_scores(tmp_path, [4.0, 3.0, 2.0, 1.0], [4.0, 3.0], [4.0, 4.0, 1.0], *[[4.0, 3.0, 2.0]] * 20)
    own = ("p0-2", "p2-1", *(f"p{i}-0" for i in range(3, 23)))
    change(small, actor={f"p{i}-{j}": "policy" if f"p{i}-{j}" in own else "other" for i in range(23) for j in range(4)})
    drawn = pairs(small, "one_side", actor="policy")
    assert [one for one in drawn if one[0][:3] in ("p0-", "p1-", "p2-")] == [("p0-0", "p0-2"), ("p2-1", "p2-2")]
    assert samples(one for one in drawn if one[0][:3] not in ("p0-", "p2-")) == {("0", "1"), ("0", "2")}


def test_across_actors(tmp_path):
    small = by_scores(tmp_path, [4.0, 3.0, 2.0, 1.0], [1.0, 2.0])
    change(small, actor={"p0-0": "strong", "p0-1": "strong", "p0-2": "weak", "p0-3": "weak", "p1-0": "strong", "p1-1": "weak"})
    assert pairs(small, "cross_actor") == [("p0-0", "p0-3"), ("p1-1", "p1-0")]
    assert pairs(small, "cross_actor", chosen_actor="strong", rejected_actor="weak") == [("p0-0", "p0-3")]
    decided = rows(small, "cross_actor", chosen_actor="strong", rejected_actor="weak", by_score=False)
    assert [(row["chosen_id"], row["margin"]) for row in decided] == [("p0-0", 3.0), ("p1-0", -1.0)]
    with pytest.raises(QueryError, match="give chosen_actor and rejected_actor"):
        rows(small, "cross_actor", by_score=False)


def test_the_consistency_of_two_rankings_is_the_soft_label(tmp_path):
    small = by_scores(tmp_path, [5.0, 4.0, 3.0, 2.0, 1.0], [2.0, 1.0])
    column(small, "agreement", dict.fromkeys([f"p0-{i}" for i in range(5)], 0.8) | {"p1-0": None, "p1-1": None})
    (row,) = rows(small, "consistency", consistency="agreement")
    assert (row["chosen_id"], row["rejected_id"], row["probability"]) == ("p0-0", "p0-4", 0.8)


def test_siblings_of_a_tree(tmp_path):
    small = by_scores(tmp_path, [0.5, 0.4, 0.9, 0.7, 0.2])
    change(small, parent_id=dict.fromkeys(("p0-2", "p0-3", "p0-4"), "p0-0"), depth=dict.fromkeys(("p0-2", "p0-3", "p0-4"), 1))
    asked = [{"role": "user", "content": "ask p0"}, {"role": "assistant", "content": "answer 0"}]
    change(small, messages=dict.fromkeys(("p0-2", "p0-3", "p0-4"), asked))
    assert pairs(small, "siblings") == [("p0-0", "p0-1"), ("p0-2", "p0-4")]
    assert pairs(small, "siblings", roots=False, all=True, min_margin=0.3) == [("p0-2", "p0-4"), ("p0-3", "p0-4")]
    below = rows(small, "siblings", roots=False)[0]
    assert [m["content"] for m in below["messages"]] == ["ask p0", "answer 0"] and below["reason"] == "depth 1: score 0.9 against 0.2"
    assert len(pairs(small, "siblings", all=True, per_prompt=1)) == 1


def test_drafts_against_their_revisions(tmp_path):
    small = by_scores(tmp_path, [0.0, 1.0, 0.0, 1.0])
    part = "followup/refine"
    small.answers([("p0", f"again {i}", score) for i, score in enumerate([1.0, 0.0, 0.0, 1.0])], part=part, depth=1)
    answers = small.lake.read("generations", experiment="small", rounds=[0], part=part).to_pylist()
    small.put("generations", part, [row | {"parent_id": f"p0-{row['sample']}"} for row in answers])
    assert pairs(small, "refinement") == [(f"p0-{part}-0", "p0-0")]
    both = rows(small, "refinement", flips="both")
    assert ids(both) == [("p0-1", f"p0-{part}-1"), (f"p0-{part}-0", "p0-0")]
    assert sorted(row["reason"] for row in both) == ["improved by its revision", "spoilt by its revision"]
    assert [m["content"] for m in both[0]["messages"]] == ["ask p0"]
    assert rows(small, "refinement", followup="other") == []


def test_an_empty_round_makes_no_pair(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["p0"])
    for name in BY_SCORE:
        assert rows(small, name) == [], name
