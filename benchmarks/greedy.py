"""Greedy pickers beside the plain way of doing the same: mig, deita, facility_location, k_center.

    python benchmarks/greedy.py [mig deita facility k-center] [--seed 0]

For each method one set of random candidates; the picker through its own interface, then plain numpy written from the equations:
mig looks at a dense matrix of all rows again for every pick (a few picks), and at the sparse one (all picks); deita copies the
kept vectors for every row; facility location multiplies all vectors for every pick (a few picks); k-center computes every
distance for every pick. Prints CPU and wall seconds, milliseconds a pick, the ratio of CPU, whether picks are the same, and the
peak of memory beyond the candidates themselves. Fails where picks differ. One thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent.parent))
from engine.select.pickers import split
from engine.select.ties import rounded
from engine.spec import Picker as Entry


class Table:
    """Prints a line a way, and keeps whether all picks agreed."""

    def __init__(self) -> None:
        self.first, self.picks, self.same = 0.0, [], True

    def start(self, title: str) -> None:
        print(f"\n{title}\n{'way':<28}{'picks':>7}{'CPU s':>9}{'wall s':>9}{'ms/pick':>9}{'ratio':>8}{'same picks':>12}")
        self.picks = []

    def run(self, way: str, picker: Callable[[], list[int]]) -> None:
        """Ratio: CPU seconds a pick over those of the first way."""
        cpu, wall = time.process_time(), time.perf_counter()
        picks = picker()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        each = cpu / len(picks)
        self.picks, self.first = (self.picks, self.first) if self.picks else (picks, each)
        equal = picks == self.picks[: len(picks)]
        self.same &= equal
        told = "yes" if equal else "NO"
        print(f"{way:<28}{len(picks):>7,}{cpu:>9.2f}{wall:>9.2f}{1000 * each:>9.2f}{each / self.first:>8.1f}{told:>12}", flush=True)


def ours(method: str, rows: pa.Table, **params: object) -> list[int]:
    """Rows in the order of picking, through the picker."""
    made = split(Entry(method=method, sql="x.sql", params=params))[0].pick(rows, np.arange(rows.num_rows, dtype=np.uint64))
    values = made["value"].to_numpy()
    return np.argsort(values)[: int(np.isfinite(values).sum())].tolist()


def memory(method: str, rows: pa.Table, **params: object) -> None:
    """The peak of numpy and Arrow beyond the candidates."""
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)  # counts from zero
    pa.set_memory_pool(pool)
    tracemalloc.start()
    ours(method, rows, **params)
    peak = tracemalloc.get_traced_memory()[1] + pool.max_memory()
    tracemalloc.stop()
    pa.set_memory_pool(usual)
    print(f"peak beyond the candidates: {peak / 1e6:,.1f} MB; candidates: {rows.nbytes / 1e6:,.1f} MB; ratio {peak / rows.nbytes:.2f}")


def table(**columns: object) -> pa.Table:
    """Candidates with ids of 16 digits."""
    n = len(next(iter(columns.values())))  # type: ignore[arg-type]
    ids = [f"{i:016x}" for i in range(n)]
    return pa.table({"item_id": ids, "prompt_id": ids, **columns})


def vectors(rng: np.random.Generator, n: int, d: int, topics: int, spread: float) -> np.ndarray:
    """Points around random middles, float32."""
    middles = rng.normal(size=(topics, d))
    return (middles[rng.integers(topics, size=n)] + spread * rng.normal(size=(n, d))).astype(np.float32)


def column(found: np.ndarray) -> pa.ListArray:
    """A matrix as a column of lists."""
    offsets = pa.array(np.arange(len(found) + 1, dtype=np.int32) * found.shape[1])
    return pa.ListArray.from_arrays(offsets, pa.array(found.ravel()))


def mig(out: Table, rng: np.random.Generator, rows: int = 50_000, labels: int = 4_000, budget: int = 1_000, plain: int = 5) -> None:
    """2 to 6 of the labels a row, some far more frequent than others, scores from 1 to 36 as DEITA's are."""
    from scipy.sparse import csr_matrix

    chance = 1.0 / np.arange(1, labels + 1) ** 0.8
    counts = rng.integers(2, 7, size=rows)
    drawn = rng.choice(labels, size=int(counts.sum()), p=chance / chance.sum())
    own = [sorted(set(part.tolist())) for part in np.split(drawn, np.cumsum(counts)[:-1])]
    scores = np.round(rng.uniform(1, 36, size=rows), 2)
    given = table(labels=pa.array([[f"label {i:04d} {i * 7919 % 9973}" for i in part] for part in own]), score=scores)
    codes, offsets = np.concatenate([np.array(part) for part in own]), np.cumsum([0, *map(len, own)])
    sparse = csr_matrix((np.repeat(scores, np.diff(offsets)), codes, offsets), shape=(rows, labels))
    slope = lambda z: 0.8 * (z + 1e-6) ** -0.2  # noqa: E731

    def plainly(matrix: object, picks: int) -> list[int]:
        z, open_, picked = np.zeros(labels), np.ones(rows, dtype=bool), []
        for _ in range(picks):
            gains = rounded(np.asarray(matrix @ slope(z).astype(matrix.dtype), dtype=np.float64))  # type: ignore[attr-defined]
            best = int(np.argmax(np.where(open_, gains, -np.inf)))
            open_[best] = False
            picked.append(best)
            z += np.asarray(matrix[[best]].todense() if hasattr(matrix, "todense") else matrix[best]).ravel()  # type: ignore[index]
        return picked

    for gain in ("gradient", "exact"):
        out.start(f"mig ({gain}): {rows:,} rows, {labels:,} labels, {len(codes) / rows:.1f} labels a row")
        how = {"budget": budget, "gain": gain, "prop_weight": 0}
        out.run("rondo", lambda how=how: ours("mig", given, **how))
        if gain == "gradient":
            out.run("all rows again, sparse", lambda: plainly(sparse, budget))
            out.run("all rows again, dense", partial(plainly, sparse.toarray(), plain))
    out.start("mig with labels embedded and sharing (similarity 0.9), from names to picks")
    out.run("rondo", lambda: ours("mig", given, budget=budget))
    memory("mig", given, budget=budget, prop_weight=0)


def deita(out: Table, rng: np.random.Generator, rows: int = 20_000, d: int = 384, budget: int = 2_000) -> None:
    """Vectors of which few are near to another (as in the figures of the paper's code), and of which most are."""
    for name, spread in (("few near", 3.0), ("most near", 0.3)):
        points, scores = vectors(rng, rows, d, 2_500, spread), rng.permutation(rows).astype(np.float64)
        given = table(vector=column(points), score=scores)

        def plainly(points: np.ndarray = points, scores: np.ndarray = scores) -> list[int]:
            unit = points / np.linalg.norm(points, axis=1, keepdims=True)
            kept: list[int] = []
            for row in np.argsort(-scores, kind="stable").tolist():
                if not kept or (unit[kept] @ unit[row]).max() <= 0.9:
                    kept.append(row)
                if len(kept) == budget:
                    break
            return kept

        out.start(f"deita: {rows:,} rows, {d} dimensions, {name} to others")
        out.run("rondo", lambda given=given: ours("deita", given, budget=budget))
        out.run("kept vectors copied", plainly)
        memory("deita", given, budget=budget)


def facility(out: Table, rng: np.random.Generator, rows: int = 10_000, d: int = 384, budget: int = 200, plain: int = 2) -> None:
    """Clusters of different density."""
    points, scores = vectors(rng, rows, d, 300, 1.0), rng.uniform(size=rows)
    given = table(vector=column(points), score=scores)
    how = {"budget": budget, "alpha": 0.5, "normalize": "mean", "quality": "mean"}

    def plainly() -> list[int]:
        unit = points / np.linalg.norm(points, axis=1, keepdims=True)
        cover, open_, picked = np.full(rows, -1.0), np.ones(rows, dtype=bool), []
        for turn in range(plain):
            gains = np.concatenate([
                np.maximum(unit[start : start + 500] @ unit.T - cover, 0).sum(axis=1) for start in range(0, rows, 500)
            ])  # fmt: skip
            best = int(np.argmax(np.where(open_, 0.5 * gains / rows + 0.5 / (turn + 1) * scores, -np.inf)))
            open_[best] = False
            picked.append(best)
            cover = np.maximum(cover, unit @ unit[best])
        return picked

    out.start(f"facility location: {rows:,} rows, {d} dimensions")
    out.run("rondo", lambda: ours("facility_location", given, **how))
    out.run("all products again", plainly)
    memory("facility_location", given, **how)
    out.start("facility location, stochastic (sample 0.01)")
    out.run("rondo", lambda: ours("facility_location", given, sample=0.01, **how))


def k_center(out: Table, rng: np.random.Generator, rows: int = 20_000, d: int = 384, budget: int = 300) -> None:
    """Clusters in space."""
    points = vectors(rng, rows, d, 300, 1.0)
    given = table(vector=column(points))

    def plainly() -> list[int]:
        wide, picked = points.astype(np.float64), [0]
        nearest = ((wide - wide[0]) ** 2).sum(axis=1)
        while len(picked) < budget:
            picked.append(int(np.argmax(nearest)))
            nearest = np.minimum(nearest, ((wide - wide[picked[-1]]) ** 2).sum(axis=1))
        return picked

    out.start(f"k-center: {rows:,} rows, {d} dimensions")
    out.run("rondo", lambda: ours("k_center", given, budget=budget))
    out.run("every distance", plainly)
    memory("k_center", given, budget=budget)


def main() -> None:
    """Runs the methods that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    methods = {"mig": mig, "deita": deita, "facility": facility, "k-center": k_center}
    parser.add_argument("methods", nargs="*", default=list(methods), help=f"of {', '.join(methods)}")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    out = Table()
    for name in given.methods:
        methods[name](out, np.random.default_rng(given.seed))
    if not out.same:
        raise SystemExit("two ways picked different rows")


if __name__ == "__main__":
    main()
