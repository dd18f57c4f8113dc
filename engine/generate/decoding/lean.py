"""A small Llama on a CPU without the cost of its modules: the arithmetic of transformers' `LlamaForCausalLM`, for decoding only.

In a model of some million parameters most of a step goes into calling modules, into small operations, and into layers' outputs
that nobody reads. Here the projections of a layer are joined, rotary tables are kept, and the last layer is computed for the last
token alone. It serves float32 models of exactly that class whose layers are as they were made (no adapters, no biases, not
quantised), up to `MOST` parameters: joined weights are copies, and in a large model the arithmetic is all that counts. Logits
differ from the model's by rounding, less than `engine.generate.decoding.sampler.NOISE` allows for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from transformers import LlamaForCausalLM, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from engine.generate.decoding.attention import grouped

if TYPE_CHECKING:
    from engine.generate.decoding.cache import RoomyCache

MOST = 50_000_000  # parameters
FIXED = ("default", "linear", "llama3")  # rotary positions whose frequencies do not change with the length of a text


class _Layer(NamedTuple):
    """Weights of a layer: (outputs, inputs), joined where they read the same."""

    before_attention: torch.Tensor
    qkv: torch.Tensor
    out: torch.Tensor
    before_mlp: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


class Lean:
    """A model's decoding step and prompt pass."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        first, self._model = model.model.layers[0].self_attn, model
        self._width, self._scaling = first.head_dim, first.scaling
        self._heads = first.q_proj.out_features // self._width
        self._shared = first.k_proj.out_features // self._width
        self._eps = model.model.norm.variance_epsilon
        self._layers = []
        for layer in model.model.layers:
            own, mlp = layer.self_attn, layer.mlp
            qkv = torch.cat([own.q_proj.weight, own.k_proj.weight, own.v_proj.weight])
            gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
            norms = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
            self._layers.append(_Layer(norms[0], qkv, own.o_proj.weight, norms[1], gate_up, mlp.down_proj.weight))
        self._cos = self._sin = torch.empty(0, 1, self._width)

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor, cache: RoomyCache) -> torch.Tensor:
        """Logits (rows, vocabulary) after the last of `ids` (rows, tokens); the tokens enter the cache.

        `mask`: for one token a row, boolean and true where it sees a token of its row (rows, 1, 1, all tokens); for prompts, which
        are padded on the left, 1 for real tokens (rows, tokens); None where nothing is padding.
        """
        cos, sin = self._rotary(positions)
        states, tokens, last = self._model.model.embed_tokens(ids), ids.shape[1], len(self._layers) - 1
        seen = None if mask is None else mask if tokens == 1 else _causal(mask)
        for number, layer in enumerate(self._layers):
            mixed = F.linear(self._norm(states, layer.before_attention), layer.qkv)
            mixed = mixed.view(*mixed.shape[:2], self._heads + 2 * self._shared, self._width)
            turned, value = mixed[:, :, : self._heads + self._shared], mixed[:, :, self._heads + self._shared :]
            half = self._width // 2
            swapped = torch.cat([turned[..., half:], turned[..., :half]], dim=-1)
            turned = torch.addcmul(turned * cos, swapped, sin)
            keys, values = cache.update(turned[:, :, self._heads :].transpose(1, 2), value.transpose(1, 2), number)
            query = turned[:, :, : self._heads].transpose(1, 2)
            if number == last and tokens > 1:  # nobody reads what it makes of the other tokens
                states, query = states[:, -1:], query[:, :, -1:]
                seen = None if seen is None else seen[:, :, -1:]
            states = states + F.linear(self._attended(query, keys, values, seen), layer.out)
            gate, up = F.linear(self._norm(states, layer.before_mlp), layer.gate_up).chunk(2, dim=-1)
            states = states + F.linear(F.silu(gate) * up, layer.down)
        return F.linear(self._norm(states[:, -1], self._model.model.norm.weight), self._model.lm_head.weight)

    def _norm(self, states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(states, weight.shape, weight, self._eps)

    def _attended(self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        if query.shape[2] == 1:
            return grouped(query, keys, values, seen, self._scaling).flatten(2)
        many = self._heads != self._shared
        found = F.scaled_dot_product_attention(query, keys, values, seen, is_causal=seen is None, scale=self._scaling, enable_gqa=many)
        return found.transpose(1, 2).flatten(2)

    def _rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (rows, tokens, 1, width) at positions; the sines' first half with the sign that turning a pair needs."""
        need = int(positions.max()) + 1
        if need > len(self._cos):
            cos, sin = self._model.model.rotary_emb(self._cos, torch.arange(2 * need).unsqueeze(0))
            sign = torch.ones(self._width)
            sign[: self._width // 2] = -1
            self._cos, self._sin = cos[0].unsqueeze(1), (sin[0] * sign).unsqueeze(1)
        return self._cos[positions], self._sin[positions]


def _causal(real: torch.Tensor) -> torch.Tensor:
    """Who sees whom in left padded prompts (rows, 1, tokens, tokens): real tokens up to oneself, and oneself."""
    tokens = real.shape[1]
    before = torch.ones(tokens, tokens, dtype=torch.bool, device=real.device).tril()
    return (before & real.bool()[:, None, None]) | torch.eye(tokens, dtype=torch.bool, device=real.device)


def of(model: PreTrainedModel) -> Lean | None:
    """A lean form of `model`; None where there is none."""
    if type(model) is not LlamaForCausalLM or model.device.type != "cpu" or model.dtype != torch.float32:
        return None
    config = model.config
    plain = config.hidden_act == "silu" and config.rope_parameters.get("rope_type", "default") in FIXED and config.num_hidden_layers > 0
    if not plain or model.num_parameters() > MOST or any(part._forward_hooks or part._forward_pre_hooks for part in model.modules()):
        return None
    layers = model.model.layers
    norms = [model.model.norm, *(norm for layer in layers for norm in (layer.input_layernorm, layer.post_attention_layernorm))]
    if type(model.model.embed_tokens) is not nn.Embedding or any(type(norm) is not LlamaRMSNorm for norm in norms):
        return None
    if any(type(part) is not nn.Linear or part.bias is not None for part in _projections(model)):
        return None
    return Lean(model)


def _projections(model: LlamaForCausalLM) -> list[nn.Module]:
    """What multiplies; an adapter would stand in its place."""
    found: list[nn.Module] = [model.lm_head]
    for layer in model.model.layers:
        own, mlp = layer.self_attn, layer.mlp
        found += [own.q_proj, own.k_proj, own.v_proj, own.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    return found
