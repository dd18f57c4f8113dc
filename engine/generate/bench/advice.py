"""Which setting to take: the fastest, or the simplest of those that differ from it by no more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.generate.bench import Figures, Metric, Setting, metric

NOISE = 0.05  # of a rate; less is a difference that nobody notices


@dataclass(frozen=True)
class Advice:
    """What to put into the spec. `gain`: its rate over that of the spec's present setting (None where that was not measured).

    `keep`: the present setting is as good as any. `lines` is YAML as data: the settings to change, empty where nothing is to be changed.
    """

    best: Figures
    fastest: Figures
    present: Figures | None
    metric: Metric
    gain: float | None
    keep: bool
    noise: bool
    lines: dict[str, Any]
    why: str


def alike(one: Figures, other: Figures, what: Metric) -> bool:
    """Whether two rates differ by no more than noise: by less than 5%, or the ranges of their repeats overlap."""
    low, high = sorted((one, other), key=lambda row: row.rate(what))
    return high.rate(what) <= low.rate(what) * (1 + NOISE) or low.span(what)[1] >= high.span(what)[0]


def advise(rows: Sequence[Figures]) -> Advice | None:
    """The advice for what was measured; None where nothing was."""
    good, what = [row for row in rows if row.measured], metric(rows)
    if not good:
        return None
    present = next((row for row in good if row.setting.present), None)
    fastest = max(good, key=lambda row: row.rate(what))
    close = [row for row in good if alike(row, fastest, what)]
    like = present.setting if present else fastest.setting
    best = min(close, key=lambda row: _burden(row.setting, like))
    gain = None if present is None or not present.rate(what) else best.rate(what) / present.rate(what)
    noise = len(close) > 1
    keep = best.setting.present
    if keep:
        why = f"as fast as {len(close) - 1} others, within noise, and nothing to change" if noise else "it is the fastest"
    elif noise:
        why = f"{len(close)} settings are equally fast, within noise; of them the one that changes the least"
    else:
        why = "the fastest"
    # where no way of batching is faster than the others, the backend may choose
    free = sum(_but_batching(row.setting) == _but_batching(best.setting) for row in close) > 1 and best.setting.batching != like.batching
    return Advice(best, fastest, present, what, gain, keep, noise, {} if keep else lines(best.setting, present, free), why)


def _but_batching(setting: Setting) -> tuple[Any, ...]:
    return setting.backend, setting.size, setting.threads


def _burden(setting: Setting, like: Setting) -> tuple[Any, ...]:
    """How much a setting asks for, less first: the present one, then its backend, threads and way of batching, then the smaller."""
    return (
        not setting.present,
        setting.backend != like.backend,
        setting.threads != like.threads,
        setting.threads,
        setting.batching not in (None, like.batching),
        setting.size if isinstance(setting.size, int) else 0,
        setting.batching or "",
    )


def lines(setting: Setting, present: Figures | None, free: bool = False) -> dict[str, Any]:
    """The spec's settings that make a run as `setting` was measured; `free`: but for its way of batching."""
    generate: dict[str, Any] = {"backend": setting.backend}
    if setting.axis == "batch":
        generate["batch"] = setting.size
    own = {name: value for name, value in setting.params.items() if name != "batching" or not free}
    if own:
        generate["params"] = own
    threads = present is not None and present.setting.threads != setting.threads
    return {"generate": generate} | ({"compute": {"threads": setting.threads}} if threads else {})
