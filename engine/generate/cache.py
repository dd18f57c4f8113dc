"""A key-value cache that writes in place and drops rows cheaply, in the form that transformers' models expect.

The cache of transformers joins (copies) everything it holds at every token; here a layer keeps spare room and grows
by a half when it is full. Layers of any other kind (sliding windows, linear attention) stay as transformers makes them.
"""

from __future__ import annotations

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

    def _room(self, states: torch.Tensor, used: torch.Tensor | None) -> torch.Tensor:
        length = 0 if used is None else used.shape[-2]
        need = length + states.shape[-2]
        shape = (*states.shape[:2], need + max(SPARE, need // 2), states.shape[-1])
        buffer = torch.empty(shape, dtype=states.dtype, device=states.device)
        if used is not None:
            buffer[:, :, :length] = used
        return buffer

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends the states of new tokens and returns all of them."""
        length = self.get_seq_length()
        end = length + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if not length or end > self._keys.shape[-2]:
            self._keys = self._room(key_states, self.keys if length else None)
            self._values = self._room(value_states, self.values if length else None)
        self._keys[:, :, length:end] = key_states
        self._values[:, :, length:end] = value_states
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Keeps (and repeats) rows by number."""
        length = self.get_seq_length()
        if length:
            rows = beam_idx.to(self.keys.device)
            for name in ("_keys", "_values"):
                old = getattr(self, name)
                new = torch.empty((len(rows), *old.shape[1:]), dtype=old.dtype, device=old.device)
                torch.index_select(old[:, :, :length], 0, rows, out=new[:, :, :length])
                setattr(self, name, new)
            self.keys, self.values = self._keys[:, :, :length], self._values[:, :, :length]


def roomy_cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache for `model`."""
    cache = DynamicCache(config=model.config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
