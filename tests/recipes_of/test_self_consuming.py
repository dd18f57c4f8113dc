"""The self-consuming loop: curation as in its theory, the share of real answers, and what two rounds of the recipe train on."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from engine.errors import QueryError
from ran_recipe import ran
from small_lake import SmallLake
from target_lake import lake, select

START, REWARDS = (0.5, 0.3, 0.2), (0.0, 1.0, 2.0)


def curated(shares, k):
    """The distribution of the answer that is kept of k: every way in which they can be drawn."""
    found = [0.0] * len(shares)
    for drawn in itertools.product(range(len(shares)), repeat=k):
        chance, total = math.prod(shares[i] for i in drawn), sum(math.exp(REWARDS[i]) for i in drawn)
        for i in drawn:
            found[i] += chance * math.exp(REWARDS[i]) / total
    return found


def retrained(shares, weight, k=2):
    """One round with lambda `weight`; infinity: no real data."""
    kept = curated(shares, k)
    return kept if math.isinf(weight) else [(real + weight * own) / (1 + weight) for real, own in zip(START, kept, strict=True)]


def test_the_theory_gives_the_numbers_of_the_catalogue():
    assert curated(START, 2) == pytest.approx([0.354523, 0.341591, 0.303886], abs=1e-6)
    assert curated(START, 4) == pytest.approx([0.261558, 0.337852, 0.400590], abs=1e-6)
    second = retrained(retrained(START, math.inf), math.inf)
    assert second == pytest.approx([0.216510, 0.349584, 0.433907], abs=1e-6)
    first = retrained(START, 1.0)
    assert first == pytest.approx([0.427262, 0.320795, 0.251943], abs=1e-6)
    shares = START
    for _ in range(100):
        shares = retrained(shares, 1.0)
    assert shares == pytest.approx([0.357451, 0.302421, 0.340128], abs=1e-6)
    before, after = (sum(p * math.exp(r) for p, r in zip(of, REWARDS, strict=True)) for of in (START, curated(START, 2)))
    spread = sum(p * math.exp(2 * r) for p, r in zip(START, REWARDS, strict=True)) - before**2
    assert after - before >= 0.5 * spread / math.exp(2.0)


def answered(folder, k, prompts):
    """Prompts whose k answers are drawn from START and scored by REWARDS."""
    small = SmallLake(folder)
    names = [f"p{i:05}" for i in range(prompts)]
    drawn = np.random.default_rng(k).choice(3, size=(prompts, k), p=START)
    small.prompts(names)
    small.answers([(name, f"answer {i}", REWARDS[i]) for name, own in zip(names, drawn.tolist(), strict=True) for i in own])
    return small, dict(zip(names, drawn.tolist(), strict=True))


@pytest.mark.parametrize("k", [2, 4])
def test_a_simulated_round_has_that_distribution(tmp_path, k):
    prompts = 6000
    small, drawn = answered(tmp_path, k, prompts)
    rows = select(small, "self_consuming", real_share=0.0)
    assert {label for _, label in rows} == {"curated"} and len(rows) == prompts
    kept = Counter(drawn[prompt][int(row["generation_id"].split("-")[1])] for (prompt, _), row in rows.items())
    for i, expected in enumerate(curated(START, k)):
        assert abs(kept[i] / prompts - expected) < 3 * math.sqrt(expected * (1 - expected) / prompts)


def test_real_rows_have_their_share_of_the_weight(tmp_path):
    small = lake(tmp_path, [[0.0, 1.0], [2.0, 0.5], [None, None]])
    for share in (0.5, 0.2):
        rows = select(small, "self_consuming", real_share=share)
        assert sorted(rows) == [("p1", "curated"), ("p1", "real"), ("p2", "curated"), ("p2", "real"), ("p3", "real")]
        real = sum(row["weight"] for (_, label), row in rows.items() if label == "real")
        assert real / sum(row["weight"] for row in rows.values()) == pytest.approx(share, abs=1e-12)
        assert {row["weight"] for (_, label), row in rows.items() if label == "curated"} == {1.0}
    gold = rows["p3", "real"]
    assert gold["origin"] == "gold" and [m["content"] for m in gold["messages"]] == ["ask p3", "gold p3"]
    with pytest.raises(QueryError, match="real_share: expected a share from 0 up and below 1, found 1"):
        select(small, "self_consuming", real_share=1.0)


def test_a_low_temperature_keeps_the_best_and_scaled_scores_are_not_the_same(tmp_path):
    small, drawn = answered(tmp_path, 4, 200)
    cold = select(small, "self_consuming", real_share=0.0, temperature=0.001)
    assert all(drawn[p][int(row["generation_id"].split("-")[1])] == max(drawn[p]) for (p, _), row in cold.items())
    warm = select(small, "self_consuming", real_share=0.0)
    assert {p: row["generation_id"] for (p, _), row in warm.items()} != {p: row["generation_id"] for (p, _), row in cold.items()}


@pytest.mark.recipes
def test_two_rounds_train_on_curated_and_real_answers(tmp_path):
    done = ran(tmp_path, "self-consuming")
    for round_ in (0, 1):
        answers, rows = done.answers(round_), done.rows("selected", round_)
        gold = {row["prompt_id"]: row["reference"] for row in done.rows("prompts", round_, "train")}
        own, real = ([row for row in rows if row["label"] == label] for label in ("curated", "real"))
        assert len(own) == len(answers) == 8 and {row["prompt_id"]: row["messages"][-1]["content"] for row in real} == gold
        assert all(row["generation_id"] in {one["generation_id"] for one in answers[row["prompt_id"]]} for row in own)
        assert sum(row["weight"] for row in real) == pytest.approx(sum(row["weight"] for row in own))
        assert done.experiment.checkpoint(round_).row["parents"] == [done.policy(round_)]
