"""A key-value cache that writes in place, drops rows cheaply and takes new rows in, in the form that transformers' models expect.

The cache of transformers joins (copies) everything it holds at every token; here a layer keeps spare room and grows
by a half when it is full. All rows end at the same column; what a row has not filled is padding on its left, so columns
that are padding for every row need not be looked at. Layers of any other kind (sliding windows, linear attention) stay
as transformers makes them; they take no new rows.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

SPARE = 32  # tokens of room at least


class RoomyLayer(DynamicLayer):
    """Keys and values (rows, heads, tokens, width) of one layer, as views of buffers with room for more tokens."""

    _layer_type = None  # not a kind of layer that a config can name
    keys: torch.Tensor
    values: torch.Tensor
    _keys: torch.Tensor
    _values: torch.Tensor
    _start = 0
    _end = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends the states of new tokens and returns all of them."""
        new = key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            length = new + max(SPARE, new // 2)
            self._keys = key_states.new_empty((*key_states.shape[:2], length, key_states.shape[-1]))
            self._values = value_states.new_empty((*value_states.shape[:2], length, value_states.shape[-1]))
        elif self._end + new > self._keys.shape[-2]:
            self._move(0, new)
        self._keys[:, :, self._end : self._end + new] = key_states
        self._values[:, :, self._end : self._end + new] = value_states
        self._end += new
        self._view()
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Keeps (and repeats) rows by number."""
        if self.is_initialized:
            self._move(0, 0, beam_idx.to(self._keys.device))

    def trim(self, width: int) -> None:
        """Looks at no more than the last `width` tokens from now on."""
        if self.is_initialized:
            self._start = self._end - width
            self._view()

    def join(self, other: RoomyLayer, of: torch.Tensor, rows: torch.Tensor) -> None:
        """Row `rows[i]` becomes a copy of row `of[i]` of `other`; its tokens end where those of all rows end."""
        width = other._end - other._start
        if width > self._end:
            self._move(width - (self._end - self._start), 0)
        self._keys[rows, :, self._end - width : self._end] = other.keys[of]
        self._values[rows, :, self._end - width : self._end] = other.values[of]
        self._start = min(self._start, self._end - width)
        self._view()

    def _move(self, left: int, right: int, rows: torch.Tensor | None = None) -> None:
        """Into new buffers without the columns before the first that is looked at, with room for so many more on either side."""
        used = self._end - self._start
        need = left + used + right
        for name in ("_keys", "_values"):
            old = getattr(self, name)[:, :, self._start : self._end]
            count = old.shape[0] if rows is None else len(rows)
            new = old.new_empty((count, old.shape[1], need + max(SPARE, need // 2), old.shape[3]))
            new[:, :, :left] = 0  # padding is masked, and must be finite all the same
            if rows is None:
                new[:, :, left : left + used] = old
            else:
                torch.index_select(old, 0, rows, out=new[:, :, left : left + used])
            setattr(self, name, new)
        self._start, self._end = left, left + used
        self._view()

    def _view(self) -> None:
        self.keys, self.values = self._keys[:, :, self._start : self._end], self._values[:, :, self._start : self._end]


class RoomyCache(DynamicCache):
    """A cache of a model; `roomy` says whether every layer is a `RoomyLayer`, so that rows can join."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(config=model.config)
        self.layers: list[Any] = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in self.layers]
        # without layers the cache makes them as it goes, of the kind that copies
        self.roomy = bool(self.layers) and all(type(layer) is RoomyLayer for layer in self.layers)

    def trim(self, width: int) -> None:
        """Looks at no more than the last `width` tokens of every layer from now on."""
        for layer in self.layers:
            layer.trim(width)

    def join(self, other: RoomyCache, of: torch.Tensor, rows: torch.Tensor) -> None:
        """Row `rows[i]` becomes a copy of row `of[i]` of `other`. Both must be roomy."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.join(theirs, of, rows)
