"""Attention for decoding: one new token a row against everything that its row holds, as two batched matrix products.

For a single query the kernels behind `scaled_dot_product_attention` are slower than plain products on a CPU, and where several
query heads share a key head they need the cache repeated for each of them, at every token. Here the queries of a group are the
rows of one product. Prompts (many queries) go to the kernels as before.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "rondo_decode"


def decode_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """`query` (rows, heads, queries, width), `key` and `value` (rows, key heads, tokens, width), a boolean mask that is true where
    a query sees a token; gives (rows, queries, heads, width)."""
    if query.shape[2] > 1 or dropout or kwargs.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)
    return grouped(query, key, value, attention_mask, query.shape[3] ** -0.5 if scaling is None else scaling), None


def grouped(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float) -> torch.Tensor:
    """Attention of a single query a row: `query` (rows, heads, 1, width); gives (rows, 1, heads, width)."""
    rows, heads, _, width = query.shape
    shared = key.shape[1]
    weights = (query.reshape(rows, shared, heads // shared, width) * scaling) @ key.transpose(2, 3)
    if mask is not None:
        weights = weights.masked_fill_(~mask, float("-inf"))
    found = torch.softmax(weights, dim=-1, dtype=torch.float32).to(value.dtype) @ value
    return found.reshape(rows, 1, heads, value.shape[-1])


def use(model: PreTrainedModel) -> bool:
    """Lets `model` decode so, where it would use sdpa and leaves attention to the library; says whether it does."""
    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa" and model._supports_attention_backend:
        AttentionInterface.register(NAME, decode_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)
    return used(model)


def used(model: PreTrainedModel) -> bool:
    """Whether `model` decodes so."""
    return model.config._attn_implementation == NAME
