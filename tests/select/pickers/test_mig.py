"""Picker `mig`: the catalogue's numbers, a brute-force reference, labels that share, and the candidates of its recipe."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from engine.errors import QueryError, SpecError, StepError
from engine.select.information import Known, Phi, greedy
from engine.select.label_graph import labelled, propagation, similar
from engine.select.picked import PickStep
from greedy_tables import candidates, pick, picker
from small_lake import SmallLake, spec

V = np.array([(10, 0, 0), (0, 9, 0), (0, 0, 8), (6, 0, 6)], dtype=np.float64)
FIRST = pytest.approx([126.7915, 114.1123, 101.4332, 152.1497], abs=1e-4)


def pairs(*triples):
    i, j, cosine = zip(*triples, strict=True)
    return np.array(i), np.array(j), np.array(cosine)


def test_two_labels_share():
    p = propagation(3, pairs((0, 1, 0.95)), 1.0, "column")
    assert p.toarray() == pytest.approx(np.array([[0.512821, 0.487179, 0], [0.487179, 0.512821, 0], [0, 0, 1]]), abs=1e-6)
    known = Known(3, Phi(), "gradient")
    assert known.gains(csr_matrix(V) @ p).tolist() == FIRST
    assert greedy(csr_matrix(V) @ p, known, 4)[0] == [3, 0, 1, 2]


@pytest.mark.parametrize(("normalize", "first", "order"), [
    ("column", pytest.approx([107.285, 149.686, 85.417, 128.434], abs=1e-3), [1, 3, 0, 2]),
    ("row", FIRST, [3, 0, 1, 2]),
])  # fmt: skip
def test_what_sums_to_one_matters_where_a_label_lies_between_others(normalize, first, order):
    p = propagation(3, pairs((0, 1, 0.95), (1, 2, 0.9)), 1.0, normalize)
    assert p.toarray().sum(axis=0 if normalize == "column" else 1) == pytest.approx(np.ones(3))
    known = Known(3, Phi(), "gradient")
    assert known.gains(csr_matrix(V) @ p).tolist() == first
    assert greedy(csr_matrix(V) @ p, known, 4)[0] == order


@pytest.mark.parametrize(("gain", "order"), [("gradient", [0, 2, 1, 3]), ("exact", [3, 0, 1, 2])])
def test_gradient_and_exact_gain_part_ways(gain, order):
    u = csr_matrix(np.array([(9, 0), (9, 0), (0, 5), (4, 4)], dtype=np.float64))
    assert greedy(u, Known(2, Phi(), gain), 4)[0] == order
    rows = candidates(labels=[["a"], ["a"], ["b"], ["a", "b"]], score=[9, 9, 5, 4])
    assert pick("mig", rows, budget=4, gain=gain, prop_weight=0)[0] == order


def test_phi():
    zero, x, more = np.zeros(1), np.array([0.0, 0.5, 3.0, 1e5]), np.array([1e-9, 0.25, 1.0, 0.01])
    assert Phi().slope(zero)[0] == pytest.approx(12.679146, abs=1e-6)
    assert Phi("exp", alpha=2.0).slope(np.array([0.5]))[0] == pytest.approx(2 * math.exp(-1))
    assert Phi().rise(x[:3], more[:3]) == pytest.approx((x[:3] + more[:3] + 1e-6) ** 0.8 - (x[:3] + 1e-6) ** 0.8)
    assert Phi("exp").rise(x, more) == pytest.approx(np.exp(-x) - np.exp(-(x + more)))
    assert Phi().rise(x, more)[3] == pytest.approx(0.01 * Phi().slope(x)[3], rel=1e-6)  # a plain difference keeps 5 digits here


def value(z, kind, a, b, alpha):
    """G of one label sum, from the definition."""
    return (z + a) ** b if kind == "pow" else 1 - math.exp(-alpha * z)


def slope(z, kind, a, b, alpha):
    """Its derivative."""
    return b * (z + a) ** (b - 1) if kind == "pow" else alpha * math.exp(-alpha * z)


def brute(labels, scores, names, cosine, budget, *, kind, gain, norm, weight, normalize, a=1e-6, b=0.8, alpha=1.0):
    """MIG from its equations: every row in full, for every pick, sums by fsum; ties after 10 digits to the smaller row."""
    n = len(names)
    w = [[1.0 if i == j else weight * cosine[i][j] for j in range(n)] for i in range(n)]
    column = [math.fsum(w[i][j] for i in range(n)) for j in range(n)]
    p = [[w[i][j] / (column[j] if normalize == "column" else math.fsum(w[i])) for j in range(n)] for i in range(n)]
    u = []
    for own, score in zip(labels, scores, strict=True):
        v = [(score / (len(set(own)) if norm else 1)) if name in own else 0.0 for name in names]
        u.append([math.fsum(v[i] * p[i][j] for i in range(n)) for j in range(n)])
    left, z, picked = list(range(len(labels))), [0.0] * n, []
    while left and len(picked) < budget:

        def gained(row, z=z):
            if gain == "gradient":
                return math.fsum(x * slope(s, kind, a, b, alpha) for x, s in zip(u[row], z, strict=True))
            return math.fsum(value(s + x, kind, a, b, alpha) - value(s, kind, a, b, alpha) for x, s in zip(u[row], z, strict=True))

        best = max(left, key=lambda row: (float(f"{gained(row):.9e}"), -row))
        left.remove(best)
        picked.append(best)
        z = [s + x for s, x in zip(z, u[best], strict=True)]
    return picked


@pytest.mark.parametrize("seed", range(24))
def test_picks_are_those_of_looking_at_every_row_every_time(seed):
    lot = random.Random(seed)
    names = [f"l{i}" for i in range(lot.choice([1, 3, 6]))]
    cosine = [[0.0] * len(names) for _ in names]
    for i in range(len(names)):
        for j in range(i):
            cosine[i][j] = cosine[j][i] = lot.choice([0.0, 0.0, 0.9, 0.95])
    labels = [lot.sample(names, lot.randrange(0, min(4, len(names) + 1))) for _ in range(lot.choice([5, 30]))]
    scores = [lot.choice([0.0, 1.0, 1.0, 0.5] if seed % 2 else [lot.uniform(0, 36)]) for _ in labels]
    how = {"kind": lot.choice(["pow", "exp"]), "gain": lot.choice(["gradient", "exact"]), "norm": lot.random() < 0.5}
    how |= {"normalize": lot.choice(["column", "row"]), "weight": lot.choice([0.5, 1.0]), "alpha": 0.1}
    expected = brute(labels, scores, names, cosine, len(labels), **how)
    offsets = np.cumsum([0, *map(len, labels)])
    codes = np.array([names.index(name) for own in labels for name in own], dtype=np.int32)
    found = [(i, j, cosine[i][j]) for i in range(len(names)) for j in range(i + 1, len(names)) if cosine[i][j]]
    u = labelled(codes, offsets, len(names), np.array(scores), how["norm"])
    u = u @ propagation(len(names), pairs(*found) if found else (np.zeros(0, int),) * 2 + (np.zeros(0),), how["weight"], how["normalize"])
    u.sort_indices()
    for front in (1, 4, 1000):
        picked, gains = greedy(u, Known(len(names), Phi(how["kind"], alpha=0.1), how["gain"]), len(labels), front)
        assert picked == expected
        assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(gains))


def test_large_pools_pick_the_same_whatever_the_front():
    rng = np.random.default_rng(0)
    labels = [[f"l{x}" for x in rng.zipf(1.3, size=rng.integers(0, 6)) % 200] for _ in range(3000)]
    rows = candidates(labels=labels, score=rng.integers(0, 3, 3000).astype(float))
    codes = np.array([int(name[1:]) for own in labels for name in own])
    u = labelled(codes, np.cumsum([0, *map(len, labels)]), 200, rows["score"].to_numpy(), False)
    picked = [greedy(u, Known(200, Phi(), gain), 400, front)[0] for gain in ("gradient", "exact") for front in (16, 3000)]
    assert picked[0] == picked[1] and picked[2] == picked[3] and picked[0] != picked[2]
    # labels numbered by name: another order of adding, the same picks
    assert pick("mig", rows, budget=400, prop_weight=0)[0] == picked[0]


def test_similar_labels_share_and_others_do_not():
    vectors = np.array([[1, 0], [0.95, math.sqrt(1 - 0.95**2)], [0, 1], [0, 0], [1, 0]], dtype=np.float32)
    i, j, cosine = similar(vectors, 0.9)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 1), (0, 4), (1, 4)]
    assert cosine == pytest.approx([0.95, 1, 0.95], abs=1e-7)
    assert [len(found) for found in similar(np.eye(3), 0.9)] == [0, 0, 0]


def test_similar_finds_every_pair_across_blocks():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(700, 6))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    i, j, _ = similar(vectors, 0.95)
    expected = np.argwhere(np.triu(unit @ unit.T >= 0.95, 1))
    assert len(expected) > 50 and np.column_stack([i, j]).tolist() == expected.tolist()


def test_a_pair_at_the_threshold_itself_shares():
    vectors = np.array([[1.0, 0.0], [0.9, math.sqrt(1 - 0.81)]])
    assert len(similar(vectors, 0.9)[0]) == 1 and not len(similar(vectors, 0.9000001)[0])


def test_label_names_are_embedded():
    labels = [["word problems"], ["word problem"], ["geometry"]]
    rows = candidates(labels=labels, score=[3.0, 2.9, 1.0])
    assert pick("mig", rows, budget=3, prop_weight=0)[0] == [0, 1, 2]
    # the two names share all that is known of them, so the second adds less than another subject
    assert pick("mig", rows, budget=2, similarity=0.5, gain="exact", b=0.1)[0] == [0, 2]


def test_rows_without_labels_come_last_and_labels_count_once():
    rows = candidates(labels=[[], ["a", "a", None], ["a"], [None], ["b"]], score=[9.0, 1.0, 1.0, 9.0, 0.0])
    picked, detail = pick("mig", rows, budget=5)
    assert picked == [1, 2, 0, 3, 4]
    assert detail[0] == {"gain": 0.0} and detail[1]["gain"] == pytest.approx(12.679146, abs=1e-6)


def test_share_and_more_than_there_are():
    rows = candidates(labels=[["a"], ["b"], ["c"]], score=[1, 2, 3])
    assert pick("mig", rows, share=0.7)[0] == [2, 1]
    assert pick("mig", rows, budget=9)[0] == [2, 1, 0]


def test_what_it_cannot_use_says_so(tmp_path):
    with pytest.raises(StepError, match=r"column score .* a number from 0 up, found -1.0 at item i0001"):
        pick("mig", candidates(labels=[["a"], ["b"]], score=[1.0, -1.0]), budget=1)
    with pytest.raises(StepError, match="none of the candidates has a label"):
        pick("mig", candidates(labels=pa.array([[], []], pa.list_(pa.string())), score=[1.0, 1.0]), budget=1)
    with pytest.raises(SpecError, match="embeds with the policy"):
        picker("mig", budget=1, embedder="hidden_state").check(tmp_path / "spec.yaml")
    with pytest.raises(SpecError, match="dimension"):
        picker("mig", budget=1, embedder_params={"dimension": 3}).check(tmp_path / "spec.yaml")
    wide = picker("mig", budget=1, embedder_params={"dimensions": 8}).settings(tmp_path / "spec.yaml")
    assert wide["embedder_params"]["dimensions"] == 8 and wide["embedder_revision"] == 1


@pytest.fixture
def small(tmp_path):
    lake = SmallLake(tmp_path)
    names = ["p0", "p1", "p2"]
    meta = ['{"labels": ["x", "y"]}', '{"labels": ["x"]}', None]
    rows = [
        {"prompt_id": n, "split": "train", "messages": [{"role": "user", "content": n}], "reference": "1", "topic": t, "meta": m}
        for n, t, m in zip(names, ["even", None, "odd"], meta, strict=True)
    ]
    lake.put("prompts", "train", rows)
    lake.answers([(n, text, score) for n in names for text, score in (("a", 1.0), ("a", 1.0), ("b", 2.0), ("c", 0.0))])
    lake.put("clusters", "prompt", [{"item_id": n, "cluster_id": int(n == "p2")} for n in names])
    stats = [{"cluster_id": 0, "label": "apples, pears"}, {"cluster_id": 1, "label": None}]
    lake.put("cluster_stats", "prompt", stats)
    planted = {"generation_id": "p9-0", "prompt_id": "p0", "content_id": "x", "response": "x"}
    lake.put("generations", "eval", [planted])
    return lake


def of(small, **params):
    entry = {"method": "mig", "name": "picked", "sql": "candidates/labels.sql", "params": {"budget": 2} | params}
    one = spec(select={"sql": "select/picked.sql", "pickers": [entry]}, cluster=[{"name": "prompt", "k": 2}], score=[{"verifier": "exact"}])
    step = PickStep(one.select.pickers[0], (), small.folder / "spec.yaml")
    step.check(one, small.folder / "spec.yaml")
    ctx = small.context(one)
    sql = step._sql
    return step, ctx, {row["item_id"]: row["labels"] for row in ctx.sql(sql.file.query(), sql.bound(one, 0)).to_pylist()}


def test_candidates_have_the_labels_of_their_prompts(small):
    step, ctx, rows = of(small, labels="$.labels")
    told = {item: [label for label in labels if label] for item, labels in rows.items()}
    assert told == {"p0-2": ["even", "apples", "pears", "x", "y"], "p1-2": ["apples", "pears", "x"], "p2-2": ["odd"]}
    values = {row["item_id"]: row["value"] for row in step.run(ctx).rows["scores", "rollout/picked"].to_pylist()}
    assert values == {"p0-2": 1.0, "p2-2": 2.0, "p1-2": None}


def test_candidates_by_parameter(small):
    assert sorted(of(small, per_prompt=0)[2]) == ["p0-0", "p0-2", "p1-0", "p1-2", "p2-0", "p2-2"]
    assert sorted(of(small, per_prompt=0, min_score=2.0)[2]) == ["p0-2", "p1-2", "p2-2"]
    assert of(small, topic=False, clusters="")[2] == {"p0-2": [], "p1-2": [], "p2-2": []}
    assert of(small, topic=False, clusters="", labels="$.labels")[2]["p1-2"] == ["x"]
    with pytest.raises(QueryError):
        of(small, labels="$")
