"""sql/pairs: pairs that judged comparisons make or filter: win rates, knock-outs, soft labels, uncertainty and CHES."""

from __future__ import annotations

import json
import math
from itertools import combinations

import pytest

from engine.errors import QueryError
from engine.pairs import STEP
from engine.stepsql import automatic
from pairs_lake import by_scores, compared, ids, pairs, rows
from small_lake import spec as small_spec


def from_table(small, wins, judge="duel"):
    """Comparisons of all pairs of p0's answers from the rows of a matrix: wins[i][j], that i beats j."""
    compared(small, {(f"p0-{i}", f"p0-{j}"): wins[i][j] for i, j in combinations(range(len(wins)), 2)}, judge)


def bradley_terry(scores):
    return [[1 / (1 + math.exp(b - a)) for b in scores] for a in scores]


def test_win_rates_of_sppo_and_their_sum(tmp_path):
    scores = [1.0, 0.0, -0.5, 0.5, -1.0]
    small = by_scores(tmp_path, [0.0] * 5)
    from_table(small, bradley_terry(scores))
    (row,) = rows(small, "by_win_rate", judge="duel")
    assert (row["chosen_id"], row["rejected_id"]) == ("p0-0", "p0-4")
    assert dict(row["extra"]) == {"win_chosen": pytest.approx(0.710378, abs=1e-6), "win_rejected": pytest.approx(0.289622, abs=1e-6)}
    assert row["probability"] == pytest.approx(0.880797, abs=1e-6)
    assert row["margin"] == pytest.approx(0.420756, abs=1e-6)
    wins = bradley_terry(scores)
    assert sum(sum(one) / 5 for one in wins) == pytest.approx(2.5)  # K / 2, whatever the judge says


def test_win_rates_of_spo_leave_the_answer_itself_out(tmp_path):
    beats = {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (3, 0)}
    small = by_scores(tmp_path, [0.0] * 4)
    from_table(small, [[0.5 if i == j else float((i, j) in beats) for j in range(4)] for i in range(4)])
    (row,) = rows(small, "by_win_rate", judge="duel", include_self=False)
    assert (row["chosen_id"], row["rejected_id"]) == ("p0-0", "p0-2")  # A and B tie, and C and D: the earlier sample
    assert dict(row["extra"]) == {"win_chosen": pytest.approx(2 / 3), "win_rejected": pytest.approx(1 / 3)}
    cycle = by_scores(tmp_path / "cycle", [0.0] * 3)
    from_table(cycle, [[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]])
    assert rows(cycle, "by_win_rate", judge="duel") == []


def test_comparisons_without_a_probability_count_for_nobody(tmp_path):
    small = by_scores(tmp_path, [0.0] * 3)
    compared(small, {("p0-0", "p0-1"): 0.9, ("p0-0", "p0-2"): None, ("p0-1", "p0-2"): None})
    (row,) = rows(small, "by_win_rate", judge="duel")
    assert ids([row]) == [("p0-0", "p0-1")]
    assert rows(small, "by_win_rate", judge="other") == []


def test_every_judged_comparison_is_a_pair(tmp_path):
    small = by_scores(tmp_path, [0.0] * 3)
    compared(small, {("p0-0", "p0-1"): 0.9, ("p0-0", "p0-2"): 0.5, ("p0-1", "p0-2"): 0.25})
    found = rows(small, "judged", judge="duel")
    assert sorted((row["chosen_id"], row["rejected_id"], row["probability"]) for row in found) == [
        ("p0-0", "p0-1", 0.9),
        ("p0-2", "p0-1", 0.75),
    ]
    assert pairs(small, "judged", judge="duel", min_probability=0.8) == [("p0-0", "p0-1")]
    assert pairs(small, "judged", judge="duel", min_probability=0.1) == ids(found)
    assert len(pairs(small, "judged", judge="duel", per_prompt=1)) == 1


def test_a_knock_out_finds_winner_and_loser(tmp_path):
    scores = [1.0, 3.0, 0.0, 2.0, 5.0, 4.0, -1.0]
    small = by_scores(tmp_path, [0.0] * 7)
    from_table(small, bradley_terry(scores))
    (row,) = rows(small, "tournament", judge="duel")
    assert (row["chosen_id"], row["rejected_id"]) == ("p0-4", "p0-6")
    assert row["probability"] == pytest.approx(1 / (1 + math.exp(-6)))
    assert pairs(small, "tournament", judge="duel", rejected="first") == [("p0-4", "p0-5")]
    with pytest.raises(QueryError, match="rejected: expected worst or first, found last"):
        rows(small, "tournament", judge="duel", rejected="last")


def test_a_knock_out_with_a_bye_ties_and_a_judge_that_goes_round(tmp_path):
    last = by_scores(tmp_path / "bye", [0.0] * 3)
    from_table(last, bradley_terry([1.0, 2.0, 3.0]))
    assert pairs(last, "tournament", judge="duel", rejected="first") == [("p0-2", "p0-1")]  # the winner had a bye
    ties = by_scores(tmp_path / "ties", [0.0] * 4)
    from_table(ties, [[0.5] * 4] * 4)
    assert pairs(ties, "tournament", judge="duel") == []
    cycle = by_scores(tmp_path / "cycle", [0.0] * 3)
    from_table(cycle, [[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]])
    assert pairs(cycle, "tournament", judge="duel") == []  # 2 beats 0, who beat 1; and 2 loses to 1: it ends both
    assert pairs(cycle, "tournament", judge="duel", rejected="first") == [("p0-2", "p0-0")]
    alone = by_scores(tmp_path / "alone", [0.0], [0.0, 0.0])
    compared(alone, {("p1-0", "p1-1"): 0.9})
    assert pairs(alone, "tournament", judge="duel") == [("p1-0", "p1-1")]


def test_a_knock_out_needs_the_comparisons_that_it_meets(tmp_path):
    small = by_scores(tmp_path, [0.0] * 4)
    compared(small, {("p0-0", "p0-1"): 0.9})
    with pytest.raises(QueryError, match="answers p0-2 and p0-3 meet, and duel did not compare them"):
        rows(small, "tournament", judge="duel")


def ordered(small, judge, numbers, **columns):
    """Comparisons in both orders: numbers[left, right] is a dict of columns of (forward, swapped)."""
    found = []
    for (left, right), by_order in numbers.items():
        for order, own in zip(("forward", "swapped"), by_order, strict=True):
            row = {"prompt_id": left[:2], "left_id": left, "right_id": right, "judge": judge, "judge_version": "1", "order": order}
            found.append(row | columns | own)
    small.put("preferences", f"rollout/{judge}", found)


def test_ches_keeps_the_pairs_with_the_lowest_number_of_the_chosen_answer_first(tmp_path):
    small = by_scores(tmp_path, [1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0])
    numbers = {(f"p{i}-0", f"p{i}-1"): ({"value": forward}, {"value": swapped}) for i, (forward, swapped) in enumerate(
        [(5.0, -9.0), (-9.0, 1.0), (3.0, 0.0), (None, 0.0)]
    )}  # fmt: skip
    ordered(small, "ches", numbers)
    found = rows(small, "by_ches", fraction=0.67)
    assert [(row["chosen_id"], dict(row["extra"])) for row in found] == [("p1-1", {"ches": 1.0}), ("p2-0", {"ches": 3.0})]
    assert pairs(small, "by_ches", fraction=0.05) == [("p1-1", "p1-0")]
    assert len(pairs(small, "by_ches", fraction=1.0)) == 3  # p3's chosen answer has no number


def estimated(tmp_path, chances, uncertainty, votes=None):
    """Prompts with two answers, the first better; chances of the estimator in the order in which the first is shown first."""
    small = by_scores(tmp_path, *[[float(2 + i), 1.0] for i in range(len(chances))])
    numbers = {}
    for i, (chance, gain) in enumerate(zip(chances, uncertainty, strict=True)):
        first = {"probability": chance, "uncertainty": gain, "votes": 10}
        first["detail"] = json.dumps({"votes_first": votes[i]}) if votes else None
        numbers[f"p{i}-0", f"p{i}-1"] = (first, {"probability": 0.5, "uncertainty": 0.6, "votes": 10})
    ordered(small, "estimator", numbers)
    return small


def test_only_pairs_that_the_estimator_agrees_with(tmp_path):
    small = estimated(tmp_path / "mean", [0.9, 0.2, 0.5, 0.6], [0.1, 0.1, 0.1, 0.1])
    assert pairs(small, "by_uncertainty", judge="estimator", easy=1.0) == [("p0-0", "p0-1"), ("p3-0", "p3-1")]
    voted = estimated(tmp_path / "votes", [0.9, 0.2, 0.5, 0.6], [0.1, 0.1, 0.1, 0.1], votes=[4, 6, 5, 10])
    assert pairs(voted, "by_uncertainty", judge="estimator", easy=1.0) == [("p1-0", "p1-1"), ("p3-0", "p3-1")]
    alike = estimated(tmp_path / "none", [0.9], [None])
    assert rows(alike, "by_uncertainty", judge="estimator", easy=1.0) == []


def test_easy_pairs_are_drawn_by_certainty_and_hard_ones_by_uncertainty(tmp_path):
    gains = [0.044507, 0.0, 0.4]
    small = estimated(tmp_path, [0.8] * 3, gains)
    for kind, weights in {"easy": [1 - gain for gain in gains], "hard": gains}.items():
        for seed in range(3):
            (row,) = rows(small, "by_uncertainty", judge="estimator", seed=seed, **({"easy": 0.0} | {kind: 0.34}))  # one of three
            drawn = sampled(small, automatic(small_spec(seed=seed), 0, STEP)["seed"], kind, weights)
            assert (row["prompt_id"], row["reason"]) == (f"p{drawn}", kind)
    # what each draw's weights add up to 1 with: the numbers of the catalogue
    for kind, expected in {"easy": [0.373898, 0.391314, 0.234788], "hard": [0.100127, 0.0, 0.899873]}.items():
        found = rows(small, "by_uncertainty", judge="estimator", **({"easy": 0.0} | {kind: 1.0}))
        assert [dict(row["extra"])["sampling"] for row in found] == pytest.approx(expected, abs=1e-6)


def sampled(small, seed, kind, weights):
    """The prompt with the smallest key of Efraimidis and Spirakis."""
    keys = []
    for i, weight in enumerate(weights):
        lot = small.session(0).table("select draw($seed, $key) as lot", {"seed": seed, "key": f"{kind}/p{i}-0/p{i}-1"})["lot"][0].as_py()
        keys.append(-math.log(1 - lot) / weight if weight else math.inf)
    return keys.index(min(keys))


def test_the_mix_of_a_round_and_its_soft_labels(tmp_path):
    small = estimated(tmp_path, [0.8] * 4, [0.0, 0.1, 0.3, math.log(2)])
    found = rows(small, "by_uncertainty", judge="estimator", easy=0.5, largest=0.25, hard=0.25)
    assert {row["prompt_id"] for row in found if "large margin" in row["reason"]} == {"p3"}
    assert len(found) == len({row["row_id"] for row in found}) <= 4
    everything = rows(small, "by_uncertainty", judge="estimator", easy=1.0)
    labels = {row["prompt_id"]: row["probability"] for row in everything}
    assert labels == {"p0": 1.0, "p1": pytest.approx(1 - 0.1 / math.log(2)), "p2": pytest.approx(1 - 0.3 / math.log(2)), "p3": 0.5}
    assert {row["prompt_id"]: dict(row["extra"])["uncertainty"] for row in everything}["p2"] == 0.3


def test_one_pair_of_each_prompt(tmp_path):
    small = by_scores(tmp_path, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    same = {"probability": 0.9, "uncertainty": 0.1, "votes": 10}
    ordered(small, "estimator", {(f"p0-{i}", f"p0-{j}"): (same, same) for i, j in combinations(range(6), 2)})
    assert len(pairs(small, "by_uncertainty", judge="estimator", easy=1.0)) == 9
    assert len(pairs(small, "by_uncertainty", judge="estimator", easy=1.0, ends=2)) == 6
    assert len(pairs(small, "by_uncertainty", judge="estimator", easy=1.0, share=0.34)) == 3
    assert len(pairs(small, "by_uncertainty", judge="estimator", easy=1.0, one_a_prompt=True)) == 1
