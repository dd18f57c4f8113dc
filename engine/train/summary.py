"""A training in a few numbers, from the rows of its log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# metric of training_log, name in the summary: its last entry
LAST = (
    ("rewards/accuracies", "accuracy"),
    ("accuracy", "accuracy"),
    ("rewards/margins", "margin"),
    ("margin", "margin"),
    ("kl", "kl"),
    ("reward", "reward"),
    ("held_out/loss", "held-out loss"),
)


def numbers(log: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """`loss first` and `loss last` (entries of the log), `grad norm` (mean over the steps), and the last accuracy, margin, kl, reward
    and held-out loss where the objective logs them."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in log:
        curves.setdefault(row["metric"], []).append((row["step"], row["value"]))
    curves = {metric: sorted(curve) for metric, curve in curves.items()}
    found = {}
    if losses := curves.get("loss"):
        found = {"loss first": losses[0][1], "loss last": losses[-1][1]}
    if norms := curves.get("grad_norm"):
        starts = [0, *(step for step, _ in norms[:-1])]
        found["grad norm"] = sum((step - start) * value for start, (step, value) in zip(starts, norms, strict=True)) / norms[-1][0]
    return found | {name: curves[metric][-1][1] for metric, name in LAST if metric in curves}


def text(found: Mapping[str, float]) -> str:
    """The numbers on one line."""
    if "loss last" not in found:
        return ""
    first, last = (f"{found[name]:.4g}" for name in ("loss first", "loss last"))
    more = [f"{name} {value:.3g}" for name, value in found.items() if not name.startswith("loss ")]
    return ", ".join([f"loss {first} -> {last}" if first != last else f"loss {last}", *more])
