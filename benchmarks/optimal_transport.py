"""Potentials of entropic optimal transport: engine.select.sinkhorn beside POT (if installed: pip install pot) and plain logarithms.

    python benchmarks/optimal_transport.py [--pool 10000] [--target 1000] [--dimensions 64] [--epsilon 0.1 0.02]

One problem for all ways, float64, one thread, to the same marginal error. Prints CPU and wall seconds, iterations, the largest
difference of the calibrated gradients from ours, and how often the 10 % that would be picked agree.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from engine.select.sinkhorn import TOLERANCE, calibrated, squared_distances, transport

Way = Callable[[np.ndarray, float], tuple[np.ndarray, int]]


def ours(cost: np.ndarray, epsilon: float) -> tuple[np.ndarray, int]:
    """Absorbed scalings."""
    found = transport(cost, epsilon, 100_000)
    return found.f, found.iterations


def logarithms(cost: np.ndarray, epsilon: float) -> tuple[np.ndarray, int]:
    """Every iteration two log-sum-exp over the whole matrix."""
    g, scaled = np.zeros(cost.shape[1]), -cost / epsilon
    done, error = 0, 1.0
    while error >= TOLERANCE:
        f = -_log_mean_exp(scaled + g, 1)
        new = -_log_mean_exp(scaled + f[:, None], 0)
        g, error, done = new, np.abs(np.expm1(g - new)).mean(), done + 1
    return epsilon * f, done


def _log_mean_exp(values: np.ndarray, axis: int) -> np.ndarray:
    top = values.max(axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(values - top).mean(axis=axis))


def pot(cost: np.ndarray, epsilon: float) -> tuple[np.ndarray, int]:
    """POT's Sinkhorn on logarithms."""
    import ot

    n, m = cost.shape
    stop = TOLERANCE / np.sqrt(m)  # POT measures the 2-norm
    _, log = ot.sinkhorn(
        np.full(n, 1 / n), np.full(m, 1 / m), cost, epsilon, method="sinkhorn_log", stopThr=stop, numItermax=100_000, log=True
    )
    return epsilon * log["log_u"], log["niter"]


def main() -> None:
    """Runs every way on each epsilon; fails where gradients differ by more than 1e-4 of their spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=int, default=10_000)
    parser.add_argument("--target", type=int, default=1_000)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.1, 0.02])
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    pool, target = rng.normal(size=(given.pool, given.dimensions)), rng.normal(size=(given.target, given.dimensions)) + 0.3
    pool, target = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (pool, target))
    cost = squared_distances(pool, target)
    ways: dict[str, Way] = {"rondo": ours, "logarithms": logarithms} | ({"POT": pot} if find_spec("ot") else {})
    print(f"{given.pool:,} candidates, {given.target:,} target rows on the unit sphere; marginal error {TOLERANCE:g}")
    print(f"{'epsilon':>8} {'way':<12}{'CPU s':>8}{'wall s':>8}{'ratio':>8}{'iterations':>12}{'difference':>12}{'same picks':>12}")
    for epsilon in given.epsilon:
        base, first = None, 0.0
        for name, way in ways.items():
            cpu, wall = time.process_time(), time.perf_counter()
            f, iterations = way(cost, epsilon)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            gradient = calibrated(f)
            base, first = (gradient, cpu) if base is None else (base, first)
            top = given.pool // 10
            same = len(set(np.argsort(gradient)[:top]) & set(np.argsort(base)[:top])) / top
            gap = np.abs(gradient - base).max()
            print(f"{epsilon:>8g} {name:<12}{cpu:>8.2f}{wall:>8.2f}{cpu / first:>8.1f}{iterations:>12,}{gap:>12.1e}{same:>12.1%}")
            if gap > 1e-4 * base.std():
                raise SystemExit(f"{name} found other gradients")


if __name__ == "__main__":
    main()
