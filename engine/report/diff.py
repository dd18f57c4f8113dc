"""Two rounds, or two experiments, side by side: settings that differ, rows that differ, metrics with their errors."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from engine.experiment import key
from engine.home import Home
from engine.ids import canonical
from engine.lake import Lake
from engine.report import known
from engine.step import BASE

# table, part and column whose values say which rows two sides share
SHARED = (
    ("prompts", "train", "prompt_id"),
    ("prompts_dropped", None, "prompt_id"),
    ("selected", None, "row_id"),
    ("pairs", None, "row_id"),
)


@dataclass(frozen=True)
class Side:
    """One of the two: an experiment and, where only one round is meant, that round."""

    experiment: str
    round: int | None

    @property
    def label(self) -> str:
        """As people write it."""
        return self.experiment if self.round is None else f"{self.experiment}/{key(self.round)}"


@dataclass(frozen=True)
class Metric:
    """A metric of both sides; `stderr` of the difference takes the sides as independent, so it errs to the large side."""

    suite: str
    metric: str
    topic: str | None
    left: float | None
    left_stderr: float | None
    right: float | None
    right_stderr: float | None
    difference: float | None
    stderr: float | None
    round: str


@dataclass(frozen=True)
class Diff:
    """Everything that differs. `settings`: (key, left, right); `rows`: by table, how many in both and in one only."""

    left: str
    right: str
    settings: list[tuple[str, Any, Any]]
    rows: dict[str, dict[str, int]]
    metrics: list[Metric]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"settings": [{"key": k, "left": a, "right": b} for k, a, b in self.settings]}


def diff(left: str, right: str, home: Home, topics: bool = False) -> Diff:
    """Compares 'EXP' or 'EXP/ROUND' with another. RondoError where one has not run."""
    one, two = (Side(*known.split(text)) for text in (left, right))
    lake = Lake(home.lake)
    a, b = (known.recorded_spec(side.experiment, home, side.round).model_dump(mode="json") for side in (one, two))
    settings = [item for item in leaves(a, b) if item[0] not in ("experiment", "description")]
    counted = {table: shared(lake, one, two, table, part, column) for table, part, column in SHARED}
    rows = {table: counts for table, counts in counted.items() if any(counts.values())}
    return Diff(one.label, two.label, settings, rows, metrics(lake, one, two, topics))


def leaves(left: Any, right: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(key, left, right) of every leaf in which two trees differ; lists of equal length go item by item."""
    if isinstance(left, dict) and isinstance(right, dict):
        names = [*left, *(k for k in right if k not in left)]
        return [item for k in names for item in leaves(left.get(k), right.get(k), f"{name}.{k}" if name else k)]
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return [item for i, pair in enumerate(zip(left, right, strict=True)) for item in leaves(*pair, f"{name}.{i}")]
    return [] if canonical(left) == canonical(right) else [(name, left, right)]


def shared(lake: Lake, left: Side, right: Side, table: str, part: str | None, column: str) -> dict[str, int]:
    """How many ids stand on both sides, and on one only."""
    one, two = (_ids(lake, side, table, part, column) for side in (left, right))
    return {"both": len(one & two), "left_only": len(one - two), "right_only": len(two - one)}


def _ids(lake: Lake, side: Side, table: str, part: str | None, column: str) -> set[str]:
    rounds = None if side.round is None else [side.round]
    return set(lake.read(table, experiment=side.experiment, rounds=rounds, part=part, columns=[column])[column].to_pylist())


def metrics(lake: Lake, left: Side, right: Side, topics: bool) -> list[Metric]:
    """Metrics of both sides: of the two rounds, or of every round that both experiments have evaluated."""
    one, two = (_values(lake, side, topics) for side in (left, right))
    found = []
    if left.round is not None or right.round is not None:
        pairs = [(_last(one, left), _last(two, right))]
    else:
        pairs = [(r, r) for r in sorted({k[0] for k in one} & {k[0] for k in two})]
    for a, b in pairs:
        name = key(a) if a == b else f"{key(a)} : {key(b)}"
        wanted = {k[1:] for k in one if k[0] == a} | {k[1:] for k in two if k[0] == b}
        for suite, metric, topic in sorted(wanted, key=lambda k: (k[0] != "test", k[0], k[1], k[2] or "")):
            x, y = one.get((a, suite, metric, topic), (None, None)), two.get((b, suite, metric, topic), (None, None))
            difference = None if x[0] is None or y[0] is None else y[0] - x[0]
            error = None if difference is None or x[1] is None or y[1] is None else math.hypot(x[1], y[1])
            found.append(Metric(suite, metric, topic, *x, *y, difference, error, name))
    return found


Values = dict[tuple[int, str, str, str | None], tuple[float | None, float | None]]


def _values(lake: Lake, side: Side, topics: bool) -> Values:
    rounds = None if side.round is None else [side.round]
    rows = lake.read("evaluations", experiment=side.experiment, rounds=rounds, part="policy").to_pylist()
    return {(r["round"], r["suite"], r["metric"], r["topic"]): (r["value"], r["stderr"]) for r in rows if topics or r["topic"] is None}


def _last(values: Values, side: Side) -> int:
    return side.round if side.round is not None else max((k[0] for k in values), default=BASE)
