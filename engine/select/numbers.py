"""A column of candidates as checked numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from engine.errors import StepError


def numbers(rows: pa.Table, column: str, least: float | None = None) -> np.ndarray:
    """float64 (rows,). StepError, naming the item, for NaN, infinity, or a number below `least`."""
    found = rows[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
    broken = ~np.isfinite(found) if least is None else ~(np.isfinite(found) & (found >= least))
    if broken.any():
        at = int(np.argmax(broken))
        wanted = "a number" if least is None else f"a number from {least:g} up"
        raise StepError(
            f"column {column} of the candidates: expected {wanted}, found {found[at]} at item {rows['item_id'][at].as_py()}",
            hint="leave such rows out in the SQL, or rescale the column there",
        )
    return found
