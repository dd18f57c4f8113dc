"""Picker `optimal_transport`: the catalogue's ranking, chunks, ties, and the candidates of its recipe."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import StepError
from engine.ids import content_id
from engine.randomness import row_keys
from engine.select.picked import PickStep
from engine.select.pickers import split
from engine.spec import Picker
from small_lake import SmallLake, spec


def picker(**params):
    return split(Picker(method="optimal_transport", sql="x.sql", params=params))[0]


def table(pool, target):
    ids = [f"i{n:04d}" for n in range(len(pool))] + [f"t{n:04d}" for n in range(len(target))]
    vectors = pa.array([list(map(float, v)) for v in [*pool, *target]], pa.list_(pa.float32()))
    return pa.table({"item_id": ids, "prompt_id": ids, "vector": vectors, "target": [False] * len(pool) + [True] * len(target)})


def run(pool, target, **params):
    rows = table(pool, target)
    made = picker(**params).pick(rows, row_keys(1, 0, "pick", rows["item_id"].to_pylist())).to_pylist()
    picked = sorted((row["value"], i) for i, row in enumerate(made) if row["value"] is not None)
    assert [value for value, _ in picked] == list(range(1, len(picked) + 1))
    return [i for _, i in picked], [json.loads(row["detail"]) if row["detail"] else None for row in made]


@pytest.mark.parametrize(("debiased", "gradient"), [
    (False, [-1.91703, -0.74963, 0.58370, 2.08297]),
    (True, [-2.02141, -0.64526, 0.68808, 1.97859]),
])  # fmt: skip
def test_the_rows_that_pull_towards_the_target(debiased, gradient):
    picked, detail = run([[0], [1], [2], [3]], [[0], [2]], budget=2, epsilon=1.0, debiased=debiased)
    assert picked == [0, 1] and detail[4:] == [None, None]
    assert [row["gradient"] for row in detail[:4]] == pytest.approx(gradient, abs=1.1e-5)
    assert all(row["marginal_error"] < 1e-9 and row["epsilon"] == 1.0 for row in detail[:4])


def test_rows_near_the_target_come_first():
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(10, 8)) * 0.1 + 1, rng.normal(size=(30, 8)) * 0.1
    picked, _ = run([*far, *near], rng.normal(size=(12, 8)) * 0.1 + 1, budget=10, epsilon=0.5)
    assert set(picked) == set(range(30, 40))


def test_a_single_target_ranks_by_distance_and_equals_go_by_id():
    picked, _ = run([[3], [1], [2], [1], [0]], [[0]], share=0.8, epsilon=0.1)
    assert picked == [4, 1, 3, 2]


def test_chunks_give_their_shares():
    rng = np.random.default_rng(0)
    pool, target = rng.normal(size=(25, 3)), rng.normal(size=(6, 3))
    picked, detail = run(pool, target, budget=10, epsilon=1.0, chunk=7)
    assert len(set(picked)) == 10
    whole, _ = run(pool, target, budget=10, epsilon=1.0)
    assert len(set(picked) & set(whole)) >= 6 and set(picked) != set(range(10))
    gradients = [detail[row]["gradient"] for row in picked]
    assert gradients == sorted(gradients)


def test_what_cannot_be_solved_says_so():
    with pytest.raises(StepError, match="0 target rows and 2 candidates"):
        run([[1], [2]], [], budget=1)
    with pytest.raises(StepError, match="2 target rows and 0 candidates"):
        run([], [[1], [2]], budget=1)
    with pytest.raises(StepError, match=r"after 20 iterations with epsilon 0\.01"):
        run([[0], [1], [2], [3]], [[0], [2]], budget=2, epsilon=0.01, iterations=20)


@pytest.fixture
def small(tmp_path):
    lake = SmallLake(tmp_path)
    lake.prompts([f"p{i}" for i in range(6)], topics={f"p{i}": "sport" if i < 2 else None if i == 2 else "other" for i in range(6)})
    lake.answers([(f"p{i}", text, score) for i in range(6) for text, score in (("a", 1.0), ("a", 1.0), ("b", 0.0))])
    vectors = [{"item_id": f"p{i}-{k}", "model": "m", "vector": [float(i), 0.0]} for i in range(6) for k in range(3)]
    lake.put("embeddings", "answers", vectors)
    lake.put("embeddings", "prompt", [{"item_id": f"p{i}", "model": "m", "vector": [0.0]} for i in range(6)])
    planted = {"generation_id": "p9-0", "prompt_id": "p9", "content_id": content_id("x"), "response": "x"}
    lake.put("generations", "eval", [planted])
    return lake


def step(small, **params):
    given = {"budget": 2, "epsilon": 1.0} | params
    entry = {"method": "optimal_transport", "name": "picked", "sql": "candidates/towards_target.sql", "params": given}
    one = spec(
        select={"sql": "select/picked.sql", "pickers": [entry]},
        cluster=[{"name": "answers", "of": "generations"}],
        score=[{"verifier": "exact"}],
    )
    made = PickStep(one.select.pickers[0], (), small.folder / "spec.yaml")
    made.check(one, small.folder / "spec.yaml")
    return made.run(small.context(one))


def test_the_target_is_a_topic_of_the_training_prompts(small):
    output = step(small, target="sport")
    rows = output.rows["scores", "rollout/picked"].to_pylist()
    assert [row["item_id"] for row in rows] == [f"p{i}-0" for i in range(6)]  # right, each text once, nothing of evaluation
    assert {row["item_id"]: row["value"] for row in rows if row["value"]} == {"p2-0": 1, "p3-0": 2}
    assert [row["detail"] is None for row in rows] == [True, True, False, False, False, False]


def test_without_a_topic_some_prompts_by_lot(small):
    targets = []
    for share in (0.4, 0.8):
        rows = step(small, target_share=share, budget=1).rows["scores", "rollout/picked"].to_pylist()
        targets.append({row["item_id"] for row in rows if row["detail"] is None})
    assert set() < targets[0] < targets[1]
