"""ALP-GMM: groups of prompts by where the policy's pass rate is changing most along a feature of the prompts.

Source: Portelas et al., "Teacher algorithms for curriculum learning of Deep RL in continuously parameterized environments",
arXiv 1910.07224 (code: flowersteam/teachDeepRL, teachDRL/teachers/algos/alp_gmm.py). Each prompt that was answered is a point
(feature, absolute learning progress), the progress being the distance of its reward to that of the nearest prompt answered
before. Mixtures of Gaussians with different numbers of components are fitted to the newest points, the one with the best AIC
stays; a component is drawn in proportion to its mean progress, then a feature value from it. A share is uniform.

Where it differs: the paper draws one task after the other from an unbounded supply. Here the pool is given, so the mass of the
drawn feature values goes to the nearest prompts, and the masses of a group's prompts add up to its weight; the uniform share
is equal for all groups. "Before" means in an earlier round. A reward is a prompt's mean score.
"""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from engine.errors import StepError
from engine.params import Params
from engine.plan import Planner, planners
from engine.prompts import pool, pool_reads, pool_settings
from engine.prompts.build import Row
from engine.prompts.mix import cluster_part, groups
from engine.randomness import row_keys
from engine.spec import Mix, Spec
from engine.step import Context, Ref

STEP = "plan_alp_gmm"
SCORES, PROMPTS = Ref("scores", "rollout/score", "history"), Ref("prompts", "train", "history")


class Settings(Params):
    """`by`: the groups, as in prompts.mix.by. `feature`: difficulty (the column that prompts.fields names) or length (characters
    of the last message). `uniform`: share of all groups alike. `window`: newest points that are fitted. `buffer`: newest earlier
    prompts among which the nearest is looked for. `components`: the smallest and the largest number of Gaussians."""

    by: str = "cluster"
    feature: Literal["difficulty", "length"] = "length"
    uniform: float = Field(0.2, ge=0, le=1)
    window: int = Field(250, ge=4)
    buffer: int = Field(500, gt=0)
    components: tuple[int, int] = (2, 10)


def progress(rounds: list[list[tuple[float, float]]], buffer: int) -> list[tuple[float, float]]:
    """Points (feature, absolute learning progress), oldest first; `rounds`: (feature, reward) of each round's prompts.

    A prompt is compared with the nearest of the last `buffer` prompts of earlier rounds, of equally near ones the newest.
    """
    before: deque[tuple[float, float]] = deque(maxlen=buffer)
    points: list[tuple[float, float]] = []
    for tasks in rounds:
        if before:
            known = np.array(before)[::-1]  # newest first: argmin takes the first of equals
            points += [(x, abs(r - float(known[np.argmin(np.abs(known[:, 0] - x)), 1]))) for x, r in tasks]
        before.extend(tasks)
    return points


def fitted(points: np.ndarray, components: tuple[int, int], seed: int) -> list[tuple[float, float, float]]:
    """(mean feature, its standard deviation, mean progress) of each component of the mixture with the smallest AIC.

    `points`: shape (n, 2); `seed` < 2**32. Of equal AIC the fewer components. No more components than different points.
    """
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    most = min(components[1], len(np.unique(points, axis=0)))
    best, best_aic = None, math.inf
    with threadpool_limits(1):  # sums in one order
        for k in range(min(components[0], most), most + 1):
            mixture = GaussianMixture(k, covariance_type="full", random_state=seed).fit(points)
            aic = float(mixture.aic(points))
            if aic < best_aic:
                best, best_aic = mixture, aic
    assert best is not None
    return [(float(m[0]), math.sqrt(float(c[0, 0])), max(0.0, float(m[1]))) for m, c in zip(best.means_, best.covariances_, strict=True)]


def masses(values: np.ndarray, components: list[tuple[float, float, float]]) -> np.ndarray:
    """How much of a draw falls to each of the ascending, different `values` (shape: (m,)): a component is drawn in proportion to
    its mean progress, a number from it, and the nearest value taken. Sums to 1; zeros where there is no progress."""
    total = math.fsum(alp for _, _, alp in components)
    found = np.zeros(len(values))
    edges = (values[1:] + values[:-1]) / 2
    for mean, deviation, alp in components if total > 0 else ():
        below = [0.0, *(0.5 * (1.0 + math.erf((edge - mean) / (deviation * math.sqrt(2.0)))) for edge in edges), 1.0]
        found += alp / total * np.diff(below)
    return found


@planners.register("alp_gmm")
class AlpGmm(Planner):
    """Rows with key `weight` (item_id: the group; value: its share) for prompts.mix, and `component` for the record.

    No rows, so that prompts.mix takes all groups alike, until two rounds have answered prompts.
    """

    Params = Settings
    params: Settings

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        clusters = [Ref("clusters", cluster_part(spec))] if self.params.by == "cluster" else []
        return [SCORES, PROMPTS, *pool_reads(spec), *clusters]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return {"pool": pool_settings(spec, spec_path), "seed": spec.seed, "round": round_}

    def plan(self, ctx: Context) -> list[dict[str, Any]]:
        """StepError where a prompt lacks the feature, or all have the same."""
        rows = pool(ctx)
        feature = np.array([self._feature(row) for row in rows])
        low, high = float(feature.min()), float(feature.max())
        if low == high:
            raise StepError(f"plan alp_gmm: every prompt has the {self.params.feature} {low:g}", hint="choose another `feature`")
        points = progress(self._rewards(ctx, low, high), self.params.buffer)[-self.params.window :]
        if len(points) < 2:
            return []
        seed = int(row_keys(ctx.spec.seed, ctx.round, STEP, [self.params.by])[0] >> np.uint64(32))
        components = fitted(np.array(points), self.params.components, seed)
        weights = self._weights(ctx, rows, (feature - low) / (high - low), components)
        parts = [
            {
                "key": "component",
                "item_id": str(i),
                "value": {"feature": low + m * (high - low), "deviation": d * (high - low), "progress": a},
            }
            for i, (m, d, a) in enumerate(components)
        ]
        reason = f"{len(components)} components over {len(points)} points"
        return [*({"key": "weight", "item_id": group, "value": w, "reason": reason} for group, w in weights.items()), *parts]

    def _feature(self, row: Row) -> float:
        if self.params.feature == "length":
            return float(len(row["messages"][-1]["content"]))
        if row["difficulty"] is None:
            text = f"plan alp_gmm: prompt {row['prompt_id']} has no difficulty"
            raise StepError(text, hint="name its column in prompts.fields.difficulty, or take feature: length")
        return float(row["difficulty"])

    def _rewards(self, ctx: Context, low: float, high: float) -> list[list[tuple[float, float]]]:
        """(feature scaled to the pool's [0, 1], mean score) of the prompts that each round answered, in a drawn order."""
        scored: dict[tuple[int, str], list[float]] = {}
        for row in ctx.read(SCORES, ["round", "prompt_id", "value"]).to_pylist():
            if row["value"] is not None:
                scored.setdefault((row["round"], row["prompt_id"]), []).append(row["value"])
        found: dict[int, list[tuple[int, str, float, float]]] = {}
        for row in ctx.read(PROMPTS, ["round", "prompt_id", "messages", "difficulty"]).to_pylist():
            if values := scored.get((row["round"], row["prompt_id"])):
                key = int(row_keys(ctx.spec.seed, row["round"], STEP, [row["prompt_id"]])[0])
                x = (self._feature(row) - low) / (high - low)
                found.setdefault(row["round"], []).append((key, row["prompt_id"], x, math.fsum(values) / len(values)))
        return [[(x, r) for _, _, x, r in sorted(found[round_])] for round_ in sorted(found)]

    def _weights(
        self, ctx: Context, rows: list[Row], feature: np.ndarray, components: list[tuple[float, float, float]]
    ) -> dict[str, float]:
        group_of = groups(ctx, Mix(by=self.params.by, temperature=1.0), rows)
        values, place, counts = np.unique(feature, return_inverse=True, return_counts=True)
        mass = masses(values, components)
        shares: dict[str, list[float]] = {}
        for row, at in zip(rows, place, strict=True):
            shares.setdefault(group_of(row), []).append(float(mass[at] / counts[at]))
        uniform = self.params.uniform if mass.any() else 1.0
        return {group: uniform / len(shares) + (1.0 - uniform) * math.fsum(shares[group]) for group in sorted(shares)}
