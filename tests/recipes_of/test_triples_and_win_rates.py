"""TPO's triples and SPO's win rates: what trains, and that the loss is that of the rows."""

from __future__ import annotations

import math

import pytest

from ran_recipe import best_worst, ran

pytestmark = pytest.mark.recipes


@pytest.fixture(scope="module")
def spo(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("spo"), "spo")


@pytest.fixture(scope="module")
def tpo(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("tpo"), "tpo")


def beats(of):
    """The share of its siblings that each answer beats, itself left out."""
    scores = [a["numbers"]["score"] for a in of]
    chance = [[1 / (1 + math.exp(theirs - ours)) for theirs in scores] for ours in scores]
    return [math.fsum(p for j, p in enumerate(row) if j != i) / (len(of) - 1) for i, row in enumerate(chance)]


def test_the_reward_of_spo_is_the_share_of_siblings_beaten(spo):
    for round_ in (0, 1):
        answers, pairs = spo.answers(round_), {row["prompt_id"]: row for row in spo.rows("pairs", round_)}
        for prompt, of in answers.items():
            wins = [a["numbers"]["win_rate"] for a in of]
            assert wins == pytest.approx(beats(of)) and math.fsum(wins) == pytest.approx(len(of) / 2)
            both = best_worst(of, "win_rate")
            assert (both is None) == (prompt not in pairs)
            if both:
                assert pairs[prompt]["margin"] == pytest.approx(max(wins) - min(wins))
        assert pairs


def test_the_first_loss_of_spo_is_the_square_of_the_rewards_difference(spo):
    for round_ in (0, 1):
        each = [row["margin"] ** 2 for row in spo.first_batch(round_)]
        assert spo.logged(round_)[1] == pytest.approx(math.fsum(each) / len(each), rel=0.02, abs=1e-3)


def test_tpo_learns_the_best_and_tells_the_second_from_the_worst(tpo):
    made = 0
    for round_ in (0, 1):
        pairs = {row["prompt_id"]: row for row in tpo.rows("pairs", round_)}
        for prompt, of in tpo.answers(round_).items():
            ranked = sorted(of, key=lambda a: -a["numbers"]["score"])  # stable: ties stay in the order of the samples
            worst = min(of, key=lambda a: a["numbers"]["score"])
            if ranked[1]["numbers"]["score"] == worst["numbers"]["score"]:
                assert prompt not in pairs
                continue
            row, made = pairs[prompt], made + 1
            assert [row[f"{side}_id"] for side in ("third", "chosen", "rejected")] == [a["generation_id"] for a in (*ranked[:2], worst)]
            assert row["ref_chosen_logps"] is None
    assert made == sum(len(tpo.rows("pairs", round_)) for round_ in (0, 1)) > 0
