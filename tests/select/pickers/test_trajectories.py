"""Picker `trajectories`: water-filling over sources and clusters, lots inside."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import SpecError, StepError
from engine.randomness import row_keys
from engine.select.picked import PickStep
from engine.select.pickers import split
from engine.select.pickers.trajectories import draw
from engine.spec import Picker
from small_lake import SmallLake, spec


def picker(**params):
    return split(Picker(method="trajectories", sql="x.sql", params=params))[0]


def table(vectors, sources=None):
    ids = [f"i{n:04d}" for n in range(len(vectors))]
    rows = {"item_id": ids, "prompt_id": ids, "vector": pa.array([list(map(float, v)) for v in vectors], pa.list_(pa.float64()))}
    return pa.table(rows | {"source": sources or ["one"] * len(ids)})


def pick(rows, seed=1, **params):
    made = picker(**params).pick(rows, row_keys(seed, 0, "pick", rows["item_id"].to_pylist()))
    assert made["item_id"].to_pylist() == rows["item_id"].to_pylist()
    values = made["value"].to_pylist()
    picked = sorted((value, row) for row, value in enumerate(values) if value is not None)
    assert [value for value, _ in picked] == list(range(1, len(picked) + 1))
    return [row for _, row in picked]


def labels(*sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def test_clusters_get_shares_by_water_filling():
    cluster = labels(50, 3, 100, 10)
    picked = draw(cluster, np.random.default_rng(0).permutation(163), 60, 3)
    assert len(set(picked)) == 60
    assert Counter(cluster[picked].tolist()) == {1: 3, 3: 10, 0: 23, 2: 24}


def test_small_clusters_give_only_what_the_others_cannot():
    cluster, lot = labels(2, 20, 1, 9), np.random.default_rng(0).permutation(32)
    assert set(cluster[draw(cluster, lot, 29, 3)].tolist()) == {1, 3}
    assert Counter(cluster[draw(cluster, lot, 31, 3)].tolist()).total() == 31
    assert Counter(cluster[draw(cluster, lot, 31, 1)].tolist())[0] == 2  # none is small


def test_where_the_papers_code_stops_all_of_the_small_clusters_are_taken():
    cluster = labels(1, 2, 2, 4)
    assert sorted(draw(cluster, np.arange(9), 9, 3)) == list(range(9))
    assert sorted(draw(labels(1, 1, 2), np.arange(4), 3, 3)) == [0, 1, 2]


def test_two_shapes_of_trajectory_share_the_budget():
    rng = np.random.default_rng(0)
    rows = table(np.repeat([[3.0, 2.0, 1.0], [3.0, 3.0, 3.0]], 5, axis=0) + rng.uniform(-1e-3, 1e-3, (10, 3)))
    for seed in range(5):
        assert Counter(row // 5 for row in pick(rows, seed, budget=4, clusters=2)) == {0: 2, 1: 2}


def test_sources_share_the_budget_and_a_small_one_is_taken_whole():
    vectors = np.random.default_rng(0).normal(size=(60, 4))
    rows = table(vectors, ["big"] * 40 + ["small"] * 5 + ["middle"] * 15)
    picked = pick(rows, budget=30, clusters=4)
    assert Counter("big" if row < 40 else "small" if row < 45 else "middle" for row in picked) == {"small": 5, "middle": 12, "big": 13}
    assert [row for row in picked if 40 <= row < 45] == picked[:5]  # the smallest source first
    assert len(pick(rows, budget=1000)) == 60 and len(pick(rows, share=0.5, clusters=4)) == 30


def test_lots_follow_the_keys_and_nothing_else():
    rows = table(np.random.default_rng(0).normal(size=(80, 3)))
    assert pick(rows, 1, budget=20, clusters=5) == pick(rows, 1, budget=20, clusters=5) != pick(rows, 2, budget=20, clusters=5)


def test_fewer_different_trajectories_than_clusters():
    rows = table([[1.0, 2.0]] * 30 + [[5.0, 5.0]] * 30)
    assert Counter(row // 30 for row in pick(rows, budget=20, clusters=100)) == {0: 10, 1: 10}
    assert len(pick(rows, budget=20, clusters=100, train_rows=50)) == 20


def test_detail_names_the_cluster():
    rows = table([[0.0]] * 6 + [[9.0]] * 6 + [[1.0]], ["a"] * 12 + ["b"])
    made = picker(budget=5, clusters=2).pick(rows, row_keys(0, 0, "pick", rows["item_id"].to_pylist()))
    detail = made["detail"].to_pylist()
    assert detail[12] == '{"cluster":null}' and {frozenset(detail[:6]), frozenset(detail[6:12])} == {
        frozenset({'{"cluster":0}'}),
        frozenset({'{"cluster":1}'}),
    }


def test_bad_settings_and_vectors():
    with pytest.raises(SpecError, match="either `budget` or `share`"):
        picker(clusters=4)
    with pytest.raises(SpecError, match="either `budget` or `share`"):
        picker(budget=3, share=0.1)
    with pytest.raises(StepError, match="item i0001 holds NaN"):
        pick(table([[1.0], [float("nan")], [2.0]]), budget=1)
    with pytest.raises(StepError, match="item i0002 has 2 numbers, others have 1"):
        pick(table([[1.0], [2.0], [2.0, 3.0]]), budget=1)


def test_candidates_are_the_different_right_answers_that_were_read(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["p1", "p2"], topics={"p1": "sums"})
    small.answers([("p1", "a", 1.0), ("p1", "a", 1.0), ("p1", "b", 1.0), ("p1", "c", 0.0), ("p2", "d", 1.0), ("p2", "e", 1.0)])
    detail = ["[2.5,1.5]", "[2.5,1.5]", "[3,3]", "[9,9]", "truncated: 9 tokens, 8 allowed", "[0.25,0.125]"]
    rows = [
        {"item_id": item, "item_kind": "generation", "prompt_id": item[:2], "scorer": "loss_trajectory", "detail": text,
         "value": None if text.startswith("t") else 1.0}
        for item, text in zip(("p1-0", "p1-1", "p1-2", "p1-3", "p2-0", "p2-1"), detail, strict=True)
    ]  # fmt: skip
    small.put("scores", "rollout/loss_trajectory", rows)
    entry = {"method": "trajectories", "name": "picked", "sql": "candidates/loss_trajectories.sql", "params": {"budget": 2}}
    one = spec(
        select={"sql": "select/picked.sql", "pickers": [entry]}, score=[{"verifier": "exact"}], measure=[{"method": "loss_trajectory"}]
    )
    step = PickStep(one.select.pickers[0], (), tmp_path / "spec.yaml")
    step.check(one, tmp_path / "spec.yaml")
    ctx = small.context(one)
    found = ctx.sql((step._sql.file.query()), {"min_score": 1.0, "measure": "loss_trajectory"}).sort_by("item_id").to_pylist()
    assert [(row["item_id"], row["vector"], row["source"]) for row in found] == [
        ("p1-0", [2.5, 1.5], "sums"),
        ("p1-2", [3.0, 3.0], "sums"),
        ("p2-1", [0.25, 0.125], "one"),
    ]
    values = step.run(ctx).rows["scores", "rollout/picked"].to_pylist()
    assert {row["item_id"]: row["value"] for row in values}["p2-1"] == 1 and sum(row["value"] is not None for row in values) == 2
