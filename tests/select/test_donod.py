"""sql/select/donod.sql: DON and NOD from two numbers, TOPSIS over both."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from engine.select.steps import SelectedStep
from small_lake import SmallLake, spec

MATRIX = [(3.0, 4.0), (1.0, 2.0), (-1.0, 1.0), (2.0, 5.0)]  # DON, NOD
HEAD = 10.0


def lake_of(folder, matrix, eta=1.0, head=HEAD):
    """Answers whose ||G||^2 and <W, G> give these DON and NOD for a head of that norm."""
    small = SmallLake(folder)
    small.prompts([f"p{i}" for i in range(len(matrix))])
    small.answers([(f"p{i}", "right", 1.0) for i in range(len(matrix))])
    norms = [(nod / eta) ** 2 for _, nod in matrix]
    dots = [(head**2 + nod**2 - (head + don) ** 2) / (2 * eta) for don, nod in matrix]
    for column, values in {"head_norm2": norms, "head_dot": dots, "head_head2": [head**2] * len(matrix)}.items():
        common = {"item_kind": "generation", "scorer": column}
        rows = [common | {"item_id": f"p{i}-0", "prompt_id": f"p{i}", "value": value} for i, value in enumerate(values)]
        small.put("scores", f"rollout/{column}", rows)
    return small


def run(small, **params):
    """(DON, NOD, closeness) by answer, best first."""
    one = spec(select={"sql": "select/donod.sql", "params": params})
    rows = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one)).rows["selected", "policy"].to_pylist()
    rows.sort(key=lambda row: row["rank"])
    number = r"(-?[\d.e+-]+)"
    read = {}
    for row in rows:
        found = re.fullmatch(f"closeness {number}, DON {number}, NOD {number}", row["reason"])
        assert found
        read[row["prompt_id"]] = (float(found[2]), float(found[3]), float(found[1]))
    return read


@pytest.mark.parametrize(("direction", "closeness"), [
    ("max", [0.702256, 0.558714, 0.363479, 0.546103]),
    ("min", [0.116007, 0.558714, 1.0, 0.209617]),
])  # fmt: skip
def test_closeness_of_the_catalogue(tmp_path, direction, closeness):
    found = run(lake_of(tmp_path, MATRIX), keep=1.0, eta=1.0, direction=direction)
    assert [found[f"p{i}"][2] for i in range(4)] == pytest.approx(closeness, abs=1.1e-6)
    assert [found[f"p{i}"][:2] for i in range(4)] == [pytest.approx(row, abs=1e-5) for row in MATRIX]
    assert list(found) == [f"p{i}" for i in sorted(range(4), key=lambda i: -closeness[i])]


def test_don_and_nod_of_one_step(tmp_path):
    """W=[[3,0],[0,4]], W'=[[3,1],[0,4]]: G=[[0,-1],[0,0]] at eta 1, so ||G||^2=1, <W,G>=0, ||W||^2=25."""
    small = lake_of(tmp_path, [(math.sqrt(26) - 5, 1.0)], head=5.0)
    don, nod, _ = run(small, eta=1.0)["p0"]
    assert don == pytest.approx(0.0990195, abs=1e-6) and nod == 1


def test_a_small_step_loses_no_digits(tmp_path):
    """eta 1e-5: the difference of two norms that agree in ten digits."""
    small = lake_of(tmp_path, [(1e-9, 1e-6), (-2e-9, 3e-6)], eta=1e-5)
    found = run(small, keep=1.0)
    assert found["p0"][0] == pytest.approx(1e-9, rel=1e-5) and found["p1"][0] == pytest.approx(-2e-9, rel=1e-5)


def test_the_share_that_is_kept(tmp_path):
    small = lake_of(tmp_path, [(float(i % 7), 1.0 + i % 5) for i in range(10)])
    assert [len(run(small, eta=1.0, keep=keep)) for keep in (0.3, 0.01, 0.7, 1.0)] == [3, 1, 7, 10]


def test_rows_that_do_not_differ_are_kept_by_id(tmp_path):
    assert list(run(lake_of(tmp_path, [(1.0, 2.0)] * 4), eta=1.0, keep=0.5)) == ["p0", "p1"]


def topsis(matrix, winsor, weight):
    """Closeness to (max, min), in plain numpy; the tails drawn in to the order statistics at `winsor`."""
    table = np.array(matrix)
    cut = int(winsor * (len(table) - 1))
    ordered = np.sort(table, axis=0)
    table = np.clip(table, ordered[cut], ordered[len(table) - 1 - cut])
    table = table / np.sqrt((table**2).sum(axis=0)) * [weight, weight - 1]
    far, near = (np.sqrt(((table - one) ** 2).sum(axis=1)) for one in (table.min(axis=0), table.max(axis=0)))
    return far / (far + near)


@pytest.mark.parametrize(("winsor", "weight"), [(0.0, 0.5), (0.1, 0.5), (0.3, 0.8)])
def test_an_outlier_can_be_drawn_in(tmp_path, winsor, weight):
    matrix = [*[(0.1 * i, 3 + (i * 7 % 5) * 0.1) for i in range(10)], (5.0, 90.0)]
    found = run(lake_of(tmp_path, matrix, head=100.0), eta=1.0, keep=1.0, winsor=winsor, don_weight=weight)
    assert [found[f"p{i}"][2] for i in range(11)] == pytest.approx(topsis(matrix, winsor, weight), abs=1e-6)
    assert found["p10"][:2] == pytest.approx((5.0, 90.0))  # the reason tells the numbers as measured


def test_wrong_and_unread_answers_are_no_candidates(tmp_path):
    small = lake_of(tmp_path, MATRIX)
    small.answers([("p0", "right", 1.0), ("p1", "right", 0.0), ("p2", "right", None), ("p3", "right", 1.0)])
    assert set(run(small, eta=1.0, keep=1.0)) == {"p0", "p3"}
