"""Every method that a spec can name, by kind: what it is in one line, its settings, and where the spec names it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import RondoError, SpecError
from engine.registry import Registry, nearest
from engine.report.fields import Setting, settings


@dataclass(frozen=True)
class Method:
    """One method. `description`: of its file; `gives`: of its class; `field`: where a spec names it.

    `needs`: columns that its candidates must have; `trouble`: why it cannot be read.
    """

    kind: str
    name: str
    field: str
    description: str
    gives: str
    settings: list[Setting]
    needs: dict[str, str]
    trouble: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def _verifiers() -> Registry[Any]:
    from engine.score import verifiers

    return verifiers


def _measures() -> Registry[Any]:
    from engine.score.measures import measures

    return measures


def _pickers() -> Registry[Any]:
    from engine.select.pickers import pickers

    return pickers


def _embedders() -> Registry[Any]:
    from engine.cluster.embedders import embedders

    return embedders


def _comparers() -> Registry[Any]:
    from engine.score.comparers import comparers

    return comparers


def _planners() -> Registry[Any]:
    from engine.plan import planners

    return planners


def _backends() -> Registry[Any]:
    from engine.generate import backends

    return backends


def _objectives() -> Registry[Any]:
    from engine.train import objectives

    return objectives


def _mergers() -> Registry[Any]:
    from engine.merge import mergers

    return mergers


KINDS: dict[str, tuple[str, Callable[[], Registry[Any]]]] = {
    "verifier": ("score[].verifier", _verifiers),
    "measure": ("measure[].method", _measures),
    "comparer": ("compare[].method", _comparers),
    "picker": ("select.pickers[].method", _pickers),
    "embedder": ("cluster[].embedder", _embedders),
    "planner": ("plan[].method", _planners),
    "backend": ("generate.backend", _backends),
    "objective": ("train[].objective", _objectives),
    "merger": ("merge[].method", _mergers),
}


def methods(kind: str | None = None, name: str | None = None) -> list[Method]:
    """Every method, those of one kind, or one by name (of any kind). SpecError with the nearest where there is none.

    A method whose package is not installed is listed with the reason in `trouble`.
    """
    if kind is not None and kind not in KINDS:
        raise SpecError(f"no kind of method {kind!r}", where="command line", hint=nearest(kind, list(KINDS)))
    found = []
    for one, (field, registry) in KINDS.items():
        if kind in (None, one):
            found += [_method(one, field, registry(), each) for each in registry().names() if name in (None, each)]
    if name is not None and not found:
        known = sorted({each for _, registry in KINDS.values() for each in registry().names()})
        raise SpecError(f"no method {name!r}", where="command line", hint=nearest(name, known))
    return found


def _method(kind: str, field: str, registry: Registry[Any], name: str) -> Method:
    try:
        found = registry.load(name)
    except (RondoError, ImportError, KeyError) as error:
        return Method(kind, name, field, "", "", [], {}, f"cannot be loaded: {error}")
    about, gives = inspect.getmodule(found).__doc__ or "", found.__dict__.get("__doc__") or ""
    return Method(kind, name, field, _first(about), _first(gives), settings(found.Params, "params."), dict(getattr(found, "needs", {})))


def _first(text: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
