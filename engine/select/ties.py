"""Numbers that differ by rounding errors alone, made equal, so that ties are ties and fall to the smaller item_id."""

from __future__ import annotations

import numpy as np

BITS = 20  # of the 52 that a double's fraction has; what is left agrees to about 1e-10 of the number
STEP = 2.0**-30  # cosines are whole multiples of it: sums of up to 2 ** 21 of them are exact, in whatever order they are added
_MAGIC = 1.5 * 2.0**52 * STEP  # adding it leaves no room for anything below STEP


def rounded(values: np.ndarray) -> np.ndarray:
    """float64 of any shape to 32 binary digits after the first one, halves away from zero. Monotone; keeps 0 and infinity."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    return ((bits + (1 << (BITS - 1))) & -(1 << BITS)).view(np.float64)


def fixed(cosines: np.ndarray) -> np.ndarray:
    """Rounds cosines to multiples of STEP, in place, and returns them."""
    cosines += _MAGIC
    cosines -= _MAGIC
    return cosines
