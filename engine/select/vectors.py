"""The vectors of candidates as one matrix, and cosines between them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import StepError

ROWS = 2048  # rows that are widened to float64 at a time


def raw(rows: pa.Table, column: str = "vector") -> np.ndarray:
    """A list column as (rows, dimensions) in its own precision, without a copy where Arrow allows it (then read-only).

    StepError, naming the item, for vectors of several lengths, nulls, NaN or infinity.
    """
    lengths = pc.list_value_length(rows[column]).to_numpy(zero_copy_only=False)
    width = int(lengths[0]) if len(lengths) else 0
    if len(lengths) and (lengths != width).any():
        at = int(np.argmax(lengths != width))
        raise StepError(
            f"column {column} of the candidates: item {rows['item_id'][at].as_py()} has {lengths[at]} numbers, others have {width}",
            hint="take vectors of one model and one round",
        )
    values = whole(rows[column]).flatten()
    if values.null_count:
        raise StepError(f"column {column} of the candidates holds a null inside a vector")
    found = values.to_numpy(zero_copy_only=False).reshape(len(lengths), width)
    for start in range(0, len(found), ROWS):
        broken = ~np.isfinite(found[start : start + ROWS]).all(axis=1)
        if broken.any():
            item = rows["item_id"][start + int(np.argmax(broken))].as_py()
            raise StepError(f"column {column} of the candidates: item {item} holds NaN or infinity", hint="leave such rows out in the SQL")
    return found


def whole(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; `combine_chunks` copies even a single chunk."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def matrix(rows: pa.Table, column: str = "vector") -> np.ndarray:
    """float64 (rows, dimensions) of a list column; errors as of `raw`."""
    return raw(rows, column).astype(np.float64)


class Units:
    """Vectors (n, d) seen at length 1: widened and divided when asked for, so that no second matrix is held. 0 stays 0."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        squares = [(part.astype(np.float64) ** 2).sum(axis=1) for part in np.split(vectors, range(ROWS, max(len(vectors), 1), ROWS))]
        lengths = np.sqrt(np.concatenate(squares))
        self.lengths = np.where(lengths > 0, lengths, 1.0)

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, which: np.ndarray | slice) -> np.ndarray:
        """float64 (rows asked for, d)."""
        return np.divide(self.vectors[which], self.lengths[which][:, None], dtype=np.float64)

    def cosine(self, i: int, j: int) -> float:
        """Cosine of two rows to 12 decimals, so that no order of adding shows."""
        left, right = self.rows(np.array([i]))[0], self.rows(np.array([j]))[0]
        return round(float((left * right).sum()), 12)

    @property
    def noise(self) -> float:
        """How far a cosine in float32 can be off."""
        return float((self.vectors.shape[1] + 8) * np.finfo(np.float32).eps)
