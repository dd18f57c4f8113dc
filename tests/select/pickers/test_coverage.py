"""Pickers `scorer_by_entropy`, `coverage` and `redundancy`, and Adapt-infinity's selection made of them."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import SpecError, StepError
from engine.select.picked import steps
from engine.select.pickers import split
from engine.select.steps import SelectedStep
from engine.spec import Picker
from small_lake import SmallLake, spec


def pick(method, rows, keys=None, **params):
    picker, left = split(Picker(method=method, sql="x.sql", params=params))
    assert not left
    n = len(rows["item_id"])
    made = picker.pick(pa.table(rows), np.arange(n, dtype=np.uint64) if keys is None else keys)
    return made["value"].to_pylist(), [json.loads(told) if told else None for told in made["detail"].to_pylist()]


def table(cluster, scores, names=("a", "b")):
    n = len(cluster)
    return {"item_id": [f"g{i:03}" for i in range(n)], "cluster": cluster, "scorers": [list(names)] * n, "scores": scores}


def test_each_cluster_trusts_the_scorer_that_tells_most():
    flat, steep = [1.0, 1.0, 1.0, 1.5], [0.0, 1.0, 2.0, 3.0]
    scores = [[x, y] for x, y in zip(flat + steep, steep + flat, strict=True)]
    values, told = pick("scorer_by_entropy", table([0] * 4 + [1] * 4, scores))
    assert [t["scorer"] for t in told] == ["b"] * 4 + ["a"] * 4
    assert told[0]["bits"] == {"a": pytest.approx(0.8113, abs=5e-5), "b": 2.0}
    z = [-1.3416407864998738, -0.4472135954999579, 0.4472135954999579, 1.3416407864998738]
    assert values == pytest.approx(z + z)
    _, compat = pick("scorer_by_entropy", table([0] * 4, [[x, y] for x, y in zip(flat, [0.0] * 4, strict=True)]), repo_compat=True)
    assert compat[0]["bits"] == {"a": 0.0, "b": 0.0} and compat[0]["scorer"] == "a"  # a tie goes to the earlier


def test_constant_scorers_give_zero_and_never_nan():
    values, told = pick("scorer_by_entropy", table([0, 0, 0], [[0.1, 2.0]] * 3))
    assert values == [0.0] * 3 and told[0]["bits"] == {"a": 0.0, "b": 0.0}


def test_rows_with_other_scorers_are_an_error():
    rows = table([0, 0], [[1.0, 2.0], [2.0, 1.0]]) | {"scorers": [["a", "b"], ["a", "c"]]}
    with pytest.raises(StepError, match=r"same scorers, found a, b \| a, c"):
        pick("scorer_by_entropy", rows)
    with pytest.raises(StepError, match=r"1 scorers \(a\), 2 scores"):
        pick("scorer_by_entropy", table([0], [[1.0, 2.0]], names=("a",)))


def test_coverage_takes_from_the_whole_range_of_every_cluster():
    n = 200
    rows = {"item_id": [f"g{i:03}" for i in range(n)], "cluster": [i % 2 for i in range(n)], "score": [float(i // 2) for i in range(n)]}
    values, told = pick("coverage", rows, budget=40, bins=10)
    picked = [i for i, value in enumerate(values) if value]
    assert sorted(v for v in values if v) == list(range(1, 41))
    for cluster in (0, 1):
        own = [i // 2 for i in picked if i % 2 == cluster]
        assert len(own) == 20 and min(own) >= 5 and max(own) < 95
        assert set(Counter(min(int((94 - s) / 89 * 10), 9) for s in own).values()) == {2}
    assert told[0] == {"cluster": 0, "size": 100, "quota": 20}
    assert len([v for v in pick("coverage", rows, budget=41, allocate="equal_ceil")[0] if v]) == 42


def test_coverage_by_spread_and_distance():
    n = 80
    cluster = [i % 2 for i in range(n)]
    rows = {"item_id": [f"g{i:03}" for i in range(n)], "cluster": cluster, "score": [float(i) for i in range(n)]}
    spread = [[0.0, 2.0, 0.0, 6.0][2 * c + (i // 2) % 2] for i, c in enumerate(cluster)]
    values, _ = pick("coverage", rows | {"spread": spread}, budget=20, allocate="spread")
    assert Counter(i % 2 for i, v in enumerate(values) if v) == {0: 5, 1: 15}
    vector = [[(1 + 2 * c) * (-1.0) ** (i // 2), 4.0 * c] for i, c in enumerate(cluster)]
    values, _ = pick("coverage", rows | {"vector": vector}, budget=20, allocate="distance")
    assert Counter(i % 2 for i, v in enumerate(values) if v) == {0: 5, 1: 15}
    with pytest.raises(StepError, match="column score of the candidates: expected a number, found nan at item g001"):
        pick("coverage", rows | {"score": [0.0, float("nan")] + [1.0] * 78}, budget=3)
    with pytest.raises(SpecError, match="either `budget` or `share`"):
        pick("coverage", rows)


def test_redundancy_keeps_what_is_least_like_the_rows_before_it():
    vectors = [[1.0, 0.0], [1.0, 0.05], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]]
    n = len(vectors)
    rows = {"item_id": [f"g{i}" for i in range(n)], "cluster": [0] * n, "vector": vectors, "place": list(range(n)), "fresh": [False] * n}
    values, told = pick("redundancy", rows, budget=3)
    alike = [0.0, 0.998752, 0.049938, 0.8, 0.0]
    assert [t["M"] for t in told] == [pytest.approx(max(0, m), abs=0.04) for m in alike]
    assert values == [1.0, None, 3.0, None, 2.0]  # the first row has M = 0 and stays; -1 counts as 0
    values, _ = pick("redundancy", rows | {"place": [4, 3, 2, 1, 0]}, budget=1)
    assert values == [None, None, None, None, 1.0]  # the order decides who is first
    values, _ = pick("redundancy", rows | {"cluster": [0, 0, 1, 1, 1]}, budget=4)
    assert [v is not None for v in values] == [True, True, True, False, True]
    values, told = pick("redundancy", rows | {"fresh": [True, False, False, True, False]}, budget=2)
    assert values == [None, 1.0, None, None, 2.0] and told[0] is None and told[3] is None
    assert pick("redundancy", rows | {"fresh": [True] * n}, budget=2)[0] == [None] * n


RECIPE = {
    "measure": [{"method": "logprob", "name": "fit"}],
    "cluster": [{"name": "answers", "of": "generations", "k": 2}],
    "select": {
        "sql": "select/adapt_inf.sql",
        "pickers": [
            {
                "method": "scorer_by_entropy",
                "name": "informative",
                "sql": "candidates/scorers.sql",
                "params": {"scorers": ["fit_mean", "fit_tokens"], "min_score": 0.0},
            },
            {"method": "coverage", "name": "picked", "sql": "candidates/coverage.sql", "params": {"budget": 4}},
            {"method": "redundancy", "name": "pool", "sql": "candidates/replay_pool.sql", "params": {"budget": 3}},
        ],
    },
}


def put(small, round_):
    """Eight answers in two clusters, one of them without a number, with vectors at angles that grow by round."""
    names = [f"p{i}" for i in range(8)]
    small.prompts(names, round_=round_)
    small.answers([(name, f"text {name} {round_}", 1.0) for name in names], round_=round_)
    end = f"-r{round_}" * bool(round_)
    ids = [f"p{i}-0{end}" for i in range(8)]
    for column, values in {"fit_mean": [-i / 10 for i in range(8)], "fit_tokens": [3.0] * 7 + [None]}.items():
        small.put(
            "scores",
            f"rollout/{column}",
            [{"item_id": g, "prompt_id": g[:2], "scorer": column, "value": v} for g, v in zip(ids, values, strict=True)],
            round_,
        )
    angles = [i / 4 + round_ for i in range(8)]
    small.put(
        "embeddings",
        "answers",
        [{"item_id": g, "model": "m", "vector": [np.cos(a), np.sin(a)]} for g, a in zip(ids, angles, strict=True)],
        round_,
    )
    small.put("clusters", "answers", [{"item_id": g, "cluster_id": i % 2, "distance": 0.0} for i, g in enumerate(ids)], round_)


def test_rounds_of_adapt_infinity_replay_a_pruned_pool(tmp_path):
    small, one = SmallLake(tmp_path), spec(**RECIPE)
    path, counts = small.folder / "spec.yaml", []
    for round_ in (0, 1, 2):
        put(small, round_)
        for step in [*steps(one, path), SelectedStep("policy", path)]:
            small.keep(step.run(small.context(one, round_)), round_)
        rows = (
            small.session(round_ + 1)
            .run(f"select * from history.selected where round = {round_} order by row_id")
            .to_arrow_table()
            .to_pylist()
        )
        counts.append(Counter((row["origin"], row["source_round"]) for row in rows))
        assert len({row["row_id"] for row in rows}) == len(rows) == len({row["generation_id"] for row in rows})
        assert {row["cluster_id"] for row in rows} == {0, 1}
        assert all(row["messages"][-1]["content"].endswith(str(row["source_round"])) for row in rows)
        assert all(row["generation_id"] != f"p7-0{f'-r{round_}' * bool(round_)}" for row in rows if row["source_round"] == round_)
    assert counts[0] == {("generation", 0): 4}
    assert counts[1] == {("generation", 1): 4, ("replay", 0): 3}
    assert counts[2][("generation", 2)] == 4 and sum(counts[2].values()) == 7  # the pool is what trained in round 1, pruned to 3
    told = small.session(1).run("select reason from selected where origin = 'replay' order by rank").fetchall()
    assert all(reason.startswith("replayed, cosine") for (reason,) in told)


def test_the_candidates_fit_the_pickers(tmp_path):
    small, one = SmallLake(tmp_path), spec(**RECIPE)
    for step in steps(one, small.folder / "spec.yaml"):
        step.check(one, small.folder / "spec.yaml")
