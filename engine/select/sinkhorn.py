"""Dual potentials of entropic optimal transport between uniform samples, to a stated marginal error.

Sinkhorn iterations (Cuturi, "Sinkhorn Distances", arXiv 1306.0895) with scalings that are absorbed into the potentials before
they can overflow (Schmitzer, "Stabilized Sparse Scaling Algorithms for Entropy Regularized Transport Problems", arXiv
1610.06519): as safe as iterating on logarithms, and most iterations are two products of a matrix and a vector. All in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.errors import StepError

TOLERANCE = 1e-9  # largest sum of absolute differences between the plan's column sums and the masses that they should be
ABSORB = 30.0  # largest logarithm of a scaling before it is absorbed


@dataclass(frozen=True)
class Potentials:
    """Potentials f (N,) and g (M,) in units of the cost, the marginal error reached, and the iterations that it took."""

    f: np.ndarray
    g: np.ndarray
    error: float
    iterations: int


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (N, M) of rows (N, d) and (M, d), in float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    found = np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", y, y)[None, :] - 2.0 * (x @ y.T)
    return np.maximum(found, 0.0)


def transport(cost: np.ndarray, epsilon: float, iterations: int, tolerance: float = TOLERANCE) -> Potentials:
    """Potentials for the costs (N, M) between uniform masses 1/N and 1/M; `epsilon` in units of the cost.

    They are unique up to a constant that moves between f and g. StepError where `iterations` do not reach `tolerance`.
    """
    n, m = cost.shape
    f, g, done = np.zeros(n), np.zeros(m), 0
    f = -epsilon * _log_mean_exp(-cost / epsilon)
    while True:
        kernel = np.exp((f[:, None] + g[None, :] - cost) / epsilon) / (n * m)  # the plan of the potentials so far
        u, v = np.ones(n), np.ones(m)
        while done < iterations and _small(u, v):
            done += 1
            u = (1.0 / n) / (kernel @ v)
            columns = kernel.T @ u
            error = float(np.abs(v * columns - 1.0 / m).sum())
            if error < tolerance:
                return Potentials(f + epsilon * np.log(u), g + epsilon * np.log(v), error, done)
            v = (1.0 / m) / np.maximum(columns, np.finfo(float).tiny)
        if done >= iterations:
            raise _unfinished(error, tolerance, done, epsilon, cost)
        f, g = f + epsilon * np.log(u), g + epsilon * np.log(v)


def to_itself(cost: np.ndarray, epsilon: float, iterations: int, tolerance: float = TOLERANCE) -> Potentials:
    """The symmetric potential (f is g) of a sample with itself, costs (N, N); the bias that a debiased divergence takes off.

    Each iteration goes half of the way, which converges fast where the plain one swings (Feydy et al., "Interpolating between
    Optimal Transport and MMD using Sinkhorn Divergences", arXiv 1810.08278).
    """
    n, done = len(cost), 0
    f = -epsilon * _log_mean_exp(-cost / epsilon) / 2.0
    while True:
        kernel = np.exp((f[:, None] + f[None, :] - cost) / epsilon) / (n * n)
        u = np.ones(n)
        while done < iterations and _small(u):
            done += 1
            columns = kernel @ u
            error = float(np.abs(u * columns - 1.0 / n).sum())
            if error < tolerance:
                f = f + epsilon * np.log(u)
                return Potentials(f, f, error, done)
            u = np.sqrt(u * (1.0 / n) / np.maximum(columns, np.finfo(float).tiny))
        if done >= iterations:
            raise _unfinished(error, tolerance, done, epsilon, cost)
        f = f + epsilon * np.log(u)


def calibrated(f: np.ndarray) -> np.ndarray:
    """g_i = f_i - mean of the other f: how the transport cost moves when mass moves to i. Sums to 0; no constant in f matters.

    Source: Just et al., "LAVA: Data Valuation without Pre-Specified Learning Algorithms", arXiv 2305.00054; a single row gets 0.
    """
    n = len(f)
    centred = f - f.mean()  # n f_i / (n - 1) - sum f / (n - 1), without its cancellation
    return centred * (n / (n - 1)) if n > 1 else np.zeros(1)


def _small(*scalings: np.ndarray) -> bool:
    return all(np.isfinite(s).all() and np.abs(np.log(s)).max() < ABSORB for s in scalings)


def _log_mean_exp(rows: np.ndarray) -> np.ndarray:
    top = rows.max(axis=1)
    return top + np.log(np.exp(rows - top[:, None]).mean(axis=1))


def _unfinished(error: float, tolerance: float, done: int, epsilon: float, cost: np.ndarray) -> StepError:
    return StepError(
        f"optimal transport: marginal error {error:.1e} after {done} iterations with epsilon {epsilon:g}, needed is {tolerance:g}",
        hint=f"raise epsilon (the median cost is {np.median(cost):.3g}; far smaller values need many iterations), or `iterations`",
    )
