"""Keeps one started engine between the steps of a round, so that generation and evaluation pay for its start once.

An engine fills the memory of its device. So it is closed before a step that needs the device for something else (training, a
scoring model), and while it lives the device's lock stays held: another experiment would not find memory there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar, cast
from weakref import WeakSet

from engine.locks import Lock
from engine.step import Device, Step

WEEK = 7 * 86400.0  # seconds that a step waits for a device
_open: WeakSet[Warm] = WeakSet()  # all of this process; a process waits in vain for a lock that it holds itself


class Engine(Protocol):
    """Something that took long to start: a process, or several, that answer."""

    @property
    def alive(self) -> bool:
        """Whether it can still be used."""
        ...

    def close(self) -> None:
        """Ends it and everything that it started, and returns when its memory is free; may be called twice."""
        ...


E = TypeVar("E", bound=Engine)


class Warm:
    """The started engine of a driver, at most one, with the locks of the devices that it fills.

    `locks`: the folder of the locks (None: nothing is locked); `logs`: where engines write what they print (None: a new folder for
    temporary files); `attempt` stands in the locks.
    """

    def __init__(self, locks: Path | None = None, logs: Path | None = None, attempt: str = "") -> None:
        self._locks, self._logs, self._attempt = locks, logs, attempt
        self._engine: Engine | None = None
        self._key: str | None = None
        self._held: dict[str, Lock] = {}
        self._stepping: str | None = None  # the device of the step under way, if it locks one
        self._busy = False
        _open.add(self)

    @property
    def logs(self) -> Path:
        """The folder for what engines print."""
        if self._logs is None:
            self._logs = Path(tempfile.mkdtemp(prefix="rondo-engine-"))
        self._logs.mkdir(parents=True, exist_ok=True)
        return self._logs

    @property
    def key(self) -> str | None:
        """What the engine that lives now was started from; None where there is none."""
        return self._key

    def take(self, key: str, start: Callable[[], E], devices: Sequence[str] = ()) -> E:
        """The engine of that key: the one that lives, or a new one after the old one is closed. `devices` beyond the step's own
        are locked first, in the order given, and stay so while it lives."""
        if self._engine is None or self._key != key or not self._engine.alive:
            self.close()
            with ExitStack() as undo:
                undo.callback(self.close)
                for device in devices:
                    self._hold(device)
                self._engine, self._key = start(), key
                undo.pop_all()
        return cast(E, self._engine)

    def close(self) -> None:
        """Ends the engine and lets go of its devices, but for that of the step under way."""
        engine, self._engine, self._key = self._engine, None, None
        try:
            if engine is not None:
                engine.close()
        finally:
            for device in [name for name in self._held if name != self._stepping]:
                self._held.pop(device).__exit__(None, None, None)

    @contextmanager
    def around(self, step: Step, device: Device) -> Iterator[None]:
        """What a step runs in: the device's lock where it uses a GPU, and no engine where it needs the memory. An error ends the
        engine."""
        if step.on_device and not step.keeps_warm:
            self.close()
        self._busy = True
        try:
            if step.on_device and device.device != "cpu":  # the CPU is shared by its threads, a GPU by nobody
                self._hold(device.device)
                self._stepping = device.device
            yield
        except BaseException:
            self._stepping = None
            self.close()
            raise
        finally:
            self._stepping, self._busy = None, False
            if self._engine is None:
                self.close()

    def _hold(self, device: str) -> None:
        if self._locks is None or device in self._held:
            return
        for other in list(_open):
            if other is not self and device in other._held and not other._busy:
                other.close()
        self._held[device] = Lock(self._locks, f"device-{device}", self._attempt, wait=WEEK).__enter__()
