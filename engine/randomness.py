"""Counter-based randomness: a draw depends on (seed, round, step, row key, draw number) and on nothing else.

A row's 64-bit key starts a SplitMix64 stream (Steele, Lea, Flood: "Fast splittable pseudorandom number
generators", OOPSLA 2014); draw t is the stream's t-th output, computed directly. Batches never enter, so their
size and order cannot change a draw.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from engine.ids import canonical

GAMMA = np.uint64(0x9E3779B97F4A7C15)


def row_keys(seed: int, round_: int, step: str, rows: Iterable[str]) -> np.ndarray:
    """One uint64 key a row; `rows` are the rows' own ids (shape: (n,))."""
    prefix = blake2b(canonical([seed, round_, step]).encode(), digest_size=8)
    keys = []
    for row in rows:
        state = prefix.copy()
        state.update(row.encode())
        keys.append(int.from_bytes(state.digest(), "little"))
    return np.array(keys, dtype=np.uint64)


def uniforms(keys: np.ndarray, draw: int | np.ndarray) -> np.ndarray:
    """Doubles in [0, 1) with 53 bits: draw number `draw` (from 0) of each key's stream; shape of `keys`."""
    with np.errstate(over="ignore"):
        z = keys + (np.asarray(draw, dtype=np.uint64) + np.uint64(1)) * GAMMA
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def shuffled(seed: int, round_: int, step: str, rows: list[str]) -> list[int]:
    """Indices of `rows` in a random order that depends only on the ids (ties, which ids exclude, by id)."""
    keys = row_keys(seed, round_, step, rows)
    return sorted(range(len(rows)), key=lambda i: (int(keys[i]), rows[i]))
