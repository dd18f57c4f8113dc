"""Picker `deita`: the catalogue's numbers, a brute-force reference, its score, and the candidates by vector."""

from __future__ import annotations

import math
import random

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from engine import macros
from engine.errors import QueryError, StepError
from engine.select.picked import PickStep
from engine.select.pickers.deita import keep
from engine.select.vectors import Units
from greedy_tables import candidates, pick
from small_lake import SmallLake, spec

# unit vectors with cos(0,1) = .95, cos(0,2) = .85, cos(0,3) = 0, cos(1,2) = .9719
TOY = [(1, 0, 0), (0.95, math.sqrt(1 - 0.95**2), 0), (0.85, math.sqrt(1 - 0.85**2), 0), (0, 0, 1)]


@pytest.mark.parametrize(("batch", "kept"), [(1, [0, 2, 3]), (3, [0, 3])])
def test_batch_mates_that_were_dropped_drop_rows_in_the_papers_code(batch, kept):
    rows = candidates(TOY, score=[36, 30, 20, 4])
    picked, detail = pick("deita", rows, budget=4, repo_compat_batch=batch)
    assert picked == kept
    assert detail == [None, {"near": "i0000"}, None if batch == 1 else {"near": "i0001"}, None]


def brute(vectors, scores, budget, threshold, batch):
    """One row after another, every cosine by fsum."""

    def cosine(a, b):
        length = math.sqrt(math.fsum(x * x for x in a)) * math.sqrt(math.fsum(x * x for x in b))
        return round(math.fsum(x * y for x, y in zip(a, b, strict=True)) / length, 12) if length else 0.0

    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = order[:1]
    for start in range(1, len(order), batch):
        mates = order[start : start + batch]
        before = list(kept)
        for place, row in enumerate(mates):
            if not any(cosine(vectors[row], vectors[other]) > threshold for other in [*before, *mates[:place]]):
                kept.append(row)
    return kept[:budget]


@pytest.mark.parametrize("seed", range(16))
def test_keeps_are_those_of_comparing_with_every_row_kept(seed):
    lot = random.Random(seed)
    directions = [[lot.uniform(-1, 1) for _ in range(3)] for _ in range(6)] + [[0.0, 0.0, 0.0]]
    vectors = []
    for _ in range(60):
        base, scale = lot.choice(directions), lot.choice([1, 1, 2.5])
        noise = lot.choice([0.0, 0.0, 0.3])
        vectors.append([float(np.float32(scale * (x + (noise and lot.gauss(0, noise))))) for x in base])
    scores = [lot.choice([1.0, 0.5, lot.random()]) for _ in vectors]
    rows = candidates(vectors, pa.float32(), score=scores)
    for batch, budget in ((1, 60), (1, 5), (4, 60), (7, 6)):
        expected = brute(vectors, scores, budget, 0.9, batch)
        assert pick("deita", rows, budget=budget, repo_compat_batch=batch)[0] == expected


def test_blocks_decide_nothing_and_rows_at_the_threshold_stay():
    # angles whose cosines lie on both sides of the threshold, closer to it than float32 can tell
    angle = math.acos(0.9)
    vectors = np.array([(math.cos(i * (angle + d)), math.sin(i * (angle + d))) for d in (0.0, 1e-9, -1e-9) for i in range(6)])
    order = np.arange(len(vectors))
    found = [keep(Units(vectors), order, len(order), 0.9, block=block) for block in (1, 2, 5, 100)]
    assert all(one == found[0] for one in found)
    assert keep(Units(vectors[:3]), np.arange(3), 3, 0.9)[0] == [0, 1, 2]
    assert keep(Units(vectors[6:9]), np.arange(3), 3, 0.9)[0] == [0, 1, 2]
    assert keep(Units(vectors[12:15]), np.arange(3), 3, 0.9)[0] == [0, 2]


def test_scores_order_ties_by_item_and_budgets_stop():
    rows = candidates(np.eye(5), score=[1, 3, 3, 2, 1])
    assert pick("deita", rows, budget=4)[0] == [1, 2, 3, 0]
    assert pick("deita", rows, share=0.4)[0] == [1, 2]
    assert pick("deita", rows, budget=9)[0] == [1, 2, 3, 0, 4]
    with pytest.raises(StepError, match=r"column score .* found nan at item i0001"):
        pick("deita", candidates(np.eye(2), score=[1.0, math.nan]), budget=1)


@pytest.fixture(scope="module")
def ask():
    connection = duckdb.connect(config={"threads": 1})
    for statement in macros.script():
        connection.execute(statement)
    return lambda expression, *values: connection.execute(f"select {expression}", list(values)).fetchone()[0]


def test_expected_score(ask):
    assert ask("expected_score([0, 0, 0, 0, ln(2), ln(4)])") == pytest.approx(4.4, abs=1e-12)
    assert ask("expected_score([-1000, -1000, 5, 5])") == pytest.approx(3.5)
    lot = random.Random(0)
    for _ in range(20):
        logits = [lot.uniform(-9, 9) for _ in range(6)]
        weights = [math.exp(x) for x in logits]
        expected = sum((i + 1) * w for i, w in enumerate(weights)) / sum(weights)
        assert ask("expected_score(?::DOUBLE[])", logits) == pytest.approx(expected, rel=1e-12)


def test_deita_score_is_a_sum_over_turns(ask):
    assert ask("deita_score([2, 3], [4, 5])") == 23
    assert ask("deita_score([1.5], [6])") == 9
    assert ask("deita_score([expected_score([0, 0])], [2])") == 3
    with pytest.raises(duckdb.Error, match="2 complexities, 1 qualities"):
        ask("deita_score([2, 3], [4])")


@pytest.fixture
def small(tmp_path):
    lake = SmallLake(tmp_path)
    lake.prompts(["p0", "p1", "p2"])
    lake.answers([(f"p{i}", text, score) for i in range(3) for text, score in (("a", 1.0), ("a", 1.0), ("b", 1.0 + i), ("c", 0.0))])
    lake.put("embeddings", "prompt", [{"item_id": f"p{i}", "model": "m", "vector": [1.0, float(i == 1)]} for i in range(3)])
    own = [{"item_id": f"p{i}-{k}", "model": "m", "vector": [float(i), float(k)]} for i in range(3) for k in range(4)]
    lake.put("embeddings", "answers", own)
    planted = {"generation_id": "p9-0", "prompt_id": "p0", "content_id": "x", "response": "x"}
    lake.put("generations", "eval", [planted])
    return lake


def values(small, **params):
    entry = {"method": "deita", "name": "picked", "sql": "candidates/vectors.sql", "params": {"budget": 9} | params}
    cluster = [{"name": "prompt"}, {"name": "answers", "of": "generations"}]
    one = spec(select={"sql": "select/picked.sql", "pickers": [entry]}, cluster=cluster, score=[{"verifier": "exact"}])
    step = PickStep(one.select.pickers[0], (), small.folder / "spec.yaml")
    step.check(one, small.folder / "spec.yaml")
    rows = step.run(small.context(one)).rows["scores", "rollout/picked"].to_pylist()
    return {row["item_id"]: row["value"] for row in rows}


def test_candidates_are_the_best_answers_with_the_vectors_of_their_prompts(small):
    assert values(small) == {"p2-2": 1.0, "p1-2": 2.0, "p0-0": None}
    assert values(small, min_score=2.0) == {"p2-2": 1.0, "p1-2": 2.0}
    assert values(small, per_prompt=0) == {"p2-2": 1.0, "p1-2": 2.0, "p0-0": None, "p0-2": None, "p1-0": None, "p2-0": None}


def test_candidates_with_vectors_of_their_own(small):
    found = values(small, of="generations", space="answers", per_prompt=0, threshold=0.99)
    assert found == {"p2-2": 1.0, "p1-2": 2.0, "p0-0": 3.0, "p0-2": 4.0, "p1-0": 5.0, "p2-0": None}
    with pytest.raises(QueryError, match=r"generations p.-. has no vector in the part prompt"):
        values(small, of="generations")
    with pytest.raises(QueryError, match="expected prompts or generations, found pool"):
        values(small, of="pool")
