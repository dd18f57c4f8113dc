"""Which settings are measured: the spec's own first, then each backend at each size, way of batching and number of threads."""

from __future__ import annotations

import socket
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from engine.errors import SpecError
from engine.generate import backends, check, params
from engine.generate.bench import Setting
from engine.generate.bench.subject import Subject

BATCHES = (32, 128, 512)
REQUESTS = (4, 16, 64)
# settings of a backend's own that say how many answers are in flight, where the batch does not
AXES = ("concurrency", "max_running")
CONNECT = 10.0  # seconds
HERE = ("transformers", "vllm")  # backends for models on this machine, the simplest first


@dataclass(frozen=True)
class Wanted:
    """What the caller asks to be measured; empty: the usual."""

    backends: Sequence[str] = ()
    batches: Sequence[int] = ()
    requests: Sequence[int] = ()
    threads: Sequence[int] = ()


def numbers(text: str | None, option: str) -> tuple[int, ...]:
    """`32,128,512` as different whole numbers above 0, in order. SpecError for anything else."""
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise SpecError(f"{option}: expected whole numbers above 0, such as 32,128, found {text!r}", where="command line")
    return tuple(sorted({int(word) for word in words}))


def axis(backend: str) -> str:
    """What says how many answers of a backend are in flight."""
    fields = backends.load(backend).Params.model_fields
    return next((name for name in AXES if name in fields), "batch")


def batchings(backend: str) -> list[str]:
    """The ways of batching that a backend can be told, but the one that chooses by itself."""
    found = backends.load(backend).Params.model_fields.get("batching")
    return [] if found is None else [word for word in typing.get_args(found.annotation) if word != "auto"]


def named(subject: Subject, wanted: Wanted) -> tuple[list[str], dict[str, str]]:
    """(backends to measure, reasons against others by name). SpecError for one that does not exist."""
    own, known = subject.present.backend, backends.names()
    asked = list(dict.fromkeys(wanted.backends))
    for name in asked:
        backends.load(name)  # the registry's error names the nearest
    if not asked:
        here = [name for name in HERE if name in known] if backends.load(own).needs_model or not backends.load(own).uses_sampler else []
        asked = list(dict.fromkeys([own, *here]))
    against = {name: "takes its answers from elsewhere: nothing to measure" for name in asked if not backends.load(name).uses_sampler}
    return [name for name in asked if name not in against], against


def grid(subject: Subject, wanted: Wanted) -> tuple[list[Setting], dict[str, str]]:
    """(settings in the order in which they take turns, reasons against backends). SpecError for settings that no backend takes."""
    chosen, against = named(subject, wanted)
    found: list[Setting] = []
    for backend in chosen:
        given = subject.params_of(backend)
        try:
            check(backend, given, "generate.params", subject.experiment.path)
        except SpecError as error:
            if backend == subject.present.backend:
                raise
            against[backend] = error.message + (f" ({error.hint})" if error.hint else "")
            continue
        if away := _away(params(backend, given, "generate.params")):
            against[backend] = away
        else:
            found += _of(subject, wanted, backend, given)
    return found, against


def _away(own: Any) -> str | None:
    """Why the server that a backend's settings name cannot be asked; None where it listens, or where they name none."""
    if getattr(own, "url", None) is None:
        return None
    parts = urlsplit(own.url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)), CONNECT).close()
    except OSError as error:
        return f"no server at {own.url}: {error}"
    return None


def _of(subject: Subject, wanted: Wanted, backend: str, given: dict[str, Any]) -> list[Setting]:
    """The settings of one backend, that of the spec first."""
    what, how = axis(backend), subject.present
    sizes = (wanted.batches or BATCHES) if what != "concurrency" else (wanted.requests or REQUESTS)
    threads = wanted.threads if wanted.threads and backends.load(backend).needs_model else (subject.device.threads,)
    found = []
    if backend == how.backend:
        found.append(_present(subject, what, given))
    for number in threads:
        for batching in batchings(backend) or (None,):
            for size in sizes:
                more = ({} if what == "batch" else {what: size}) | ({} if batching is None else {"batching": batching})
                setting = Setting(backend, what, size, batching, number, {**given, **more})
                if not any(_same(setting, other) for other in found):
                    found.append(setting)
    return found


def _present(subject: Subject, what: str, given: dict[str, Any]) -> Setting:
    how = subject.present
    values = params(how.backend, given, how.field)
    size = how.batch if what == "batch" else getattr(values, what)
    return Setting(how.backend, what, size, getattr(values, "batching", None), subject.device.threads, given, present=True)


def _same(one: Setting, other: Setting) -> bool:
    fields = ("backend", "size", "batching", "threads")
    return all(getattr(one, name) == getattr(other, name) for name in fields)
