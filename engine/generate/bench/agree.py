"""Whether settings that change no row gave the same answers: a free check of that promise while speed is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.generate.asks import Pair
from engine.generate.bench import Setting
from engine.step import Device

EXACT = ("transformers",)  # backends whose rows do not depend on the batch, in float32 on a CPU


@dataclass(frozen=True)
class Agreement:
    """Two settings side by side: `answers` that both gave, of which `differ` have another text, such as `example`.

    `promised`: they must be equal. `again`: answers that a setting gave otherwise when it was asked a second time.
    """

    one: Setting
    other: Setting
    answers: int
    differ: int
    example: Pair | None
    promised: bool
    again: int = 0

    @property
    def broken(self) -> bool:
        """Whether the promise does not hold."""
        return self.promised and (self.differ > 0 or self.again > 0)


def agreements(
    found: Mapping[Setting, Mapping[Pair, str]], changed: Mapping[Setting, int], device: Device, greedy: bool
) -> list[Agreement]:
    """Each setting beside the first of its backend with as many threads, over the answers that both gave.

    The first with another number of threads stands beside the backend's first, and where answers are greedy the first of another
    backend beside the first of all: that promises nothing, since rounding may differ.
    """
    exact, pairs = device.device == "cpu" and device.dtype == "float32", list[Agreement]()
    for setting in found:
        like = next(one for one in found if (one.backend, one.threads) == (setting.backend, setting.threads))
        own = next(one for one in found if one.backend == setting.backend)
        first = next(iter(found))
        again, promised = changed.get(setting, 0), exact and setting.backend in EXACT
        if setting is not like or again:
            pairs.append(_beside(like, setting, found, promised, again))
        elif setting is not own:
            pairs.append(_beside(own, setting, found, False, 0))
        elif greedy and setting is not first:
            pairs.append(_beside(first, setting, found, False, 0))
    return pairs


def _beside(one: Setting, other: Setting, found: Mapping[Setting, Mapping[Pair, str]], promised: bool, again: int) -> Agreement:
    shared = [pair for pair in found[other] if pair in found[one]]
    differ = [pair for pair in shared if found[one][pair] != found[other][pair]]
    return Agreement(one, other, len(shared), len(differ), min(differ, default=None), promised, again)
