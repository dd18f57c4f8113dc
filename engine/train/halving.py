"""Half fine-tuning: half of the matrices of every kind stay as they are, others in each round.

In every block two of the four attention matrices are frozen; in half of the blocks two of the three feed-forward matrices and in the
others one; and half of the norms. Source: Hui et al., "HFT: half fine-tuning for large language models", arXiv 2404.18466.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from engine.errors import StepError
from engine.parts.continuing import Half
from engine.randomness import row_keys, uniforms

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED = ("gate_proj", "up_proj", "down_proj")
BLOCK = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def freeze(model: Any, how: Half, *, seed: int, round_: int) -> list[str]:
    """Takes the gradient from half of the model's tensors and returns their names, sorted. A bias goes with its matrix.

    Frozen tensors stand in no parameter group, so that weight decay does not move them either. StepError for a model whose
    blocks do not have the matrices above.
    """
    modules = chosen([name for name, _ in model.named_modules()], how, seed=seed, round_=round_)
    heads = {id(layer.weight) for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer is not None}
    frozen = []
    for name, weight in model.named_parameters():  # tied embeddings stand once
        if name.rpartition(".")[0] in modules or (how.embeddings == "freeze" and id(weight) in heads):
            weight.requires_grad_(False)
            frozen.append(name)
    return sorted(frozen)


def chosen(modules: Sequence[str], how: Half, *, seed: int, round_: int) -> set[str]:
    """Names of the modules that stay as they are, of those of a model; depends on the names, the seed and the round alone."""
    keys = row_keys(seed, round_, "half", modules)
    draws = [dict(zip(modules, uniforms(keys, draw).tolist(), strict=True)) for draw in range(2)]

    def first(names: Sequence[str], count: int, draw: int = 0) -> list[str]:
        return sorted(names, key=lambda name: (draws[draw][name], name))[:count]

    attention, feed = _blocks(modules, ATTENTION), _blocks(modules, FEED)
    frozen = {name for names in attention.values() for name in first(names, 2)}
    heavy = set(first([min(names) for names in feed.values()], (len(feed) + round_ % 2) // 2, draw=1))  # an odd block: in turn
    frozen |= {name for names in feed.values() for name in first(names, 2 if min(names) in heavy else 1)}
    if how.norms == "half":
        norms = [name for name in modules if name.rpartition(".")[2].endswith("norm")]
        frozen |= set(first(norms, len(norms) // 2))
    return frozen


def _blocks(modules: Sequence[str], kinds: Sequence[str]) -> dict[str, list[str]]:
    """Modules of the given kinds by the number of their block."""
    found: dict[str, list[str]] = {}
    for name in modules:
        if (match := BLOCK.search(name)) and name.rpartition(".")[2] in kinds:
            found.setdefault(match[1], []).append(name)
    lost = sorted(block for block, names in found.items() if len(names) != len(kinds))
    if lost or not found:
        raise StepError(
            f"train.half: expected {', '.join(kinds)} in every block, found "
            + (f"{sorted(found[lost[0]])} in block {lost[0]}" if lost else "no block that has them"),
            hint="this works on models built like Llama, Qwen, Mistral or Gemma; leave train.half out for others",
        )
    return found
