"""EVA: an adapter that starts along the directions in which the training rows move each layer's input.

A is the right singular vectors of the inputs of a layer at the target tokens, found batch by batch until they stay; ranks go where
they explain most variance (rho r at most, r on average); B is 0, so that nothing changes at the start. Through PEFT. Source: Paischer
et al., "Parameter Efficient Fine-tuning via Explained Variance Adaptation", 2024, arXiv 2410.07170.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft import initialize_lora_eva_weights
from torch.nn.functional import pad

from engine.errors import StepError

IGNORED = -100
PASSES = 50  # over the rows, after which the directions should have come to rest
Inputs = dict[str, torch.Tensor]


def initialise(model: Any, collator: Callable[..., dict[str, Any]] | None, steps: int, role: str) -> None:
    """Gives the adapter of `model` its first values, from all `steps` planned batches in their order (so again the same after a kill).

    StepError where the objective has no rows, where they have too few target tokens for the ranks, and where nothing comes to rest.
    """
    where, config = f"train, role {role}", model.peft_config["default"]
    if collator is None:
        text = "init: eva looks at the rows that train, and this objective answers prompts itself"
        raise StepError(text, where=where, hint="choose another train.lora.init")
    if not {"input_ids", "attention_mask", "weights"} <= set(collator([{"batch": 0}])):
        raise StepError("init: eva looks at rows one by one, and here they are packed", where=where, hint="set params.packing: none")
    most = round(config.r * config.eva_config.rho)
    batches = _batches(collator, steps, most)
    tokens = int(sum((batch["labels"] != IGNORED).sum() for batch in batches))
    if tokens < most:
        raise StepError(
            f"init: eva looks for {most} directions (rho times r), and the rows have {tokens} target tokens",
            where=where,
            hint="lower train.lora.r or train.lora.rho",
        )
    calls = 0

    def forward(model: Any, inputs: Inputs) -> None:
        nonlocal calls
        calls += 1
        if calls > PASSES * len(batches) + 2:
            text = f"init: eva has not come to rest after {PASSES} passes over {len(batches)} batches"
            raise StepError(text, where=where, hint="lower train.lora.tau, or take more rows")
        model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)

    with torch.no_grad():
        initialize_lora_eva_weights(model, batches, forward_fn=forward, show_progress_bar=False)


def _batches(collator: Callable[..., dict[str, Any]], steps: int, least: int) -> list[Inputs]:
    """The planned batches, neighbours joined until each has `least` target tokens; the labels of other tokens are ignored."""
    found: list[list[Inputs]] = [[]]
    for number in range(steps):
        if found[-1] and _count(found[-1]) >= least:
            found.append([])
        found[-1].append(_inputs(collator([{"batch": number}])))
    if len(found) > 1 and _count(found[-1]) < least:
        found[-2] += found.pop()
    return [_joined(batches) for batches in found]


def _inputs(batch: dict[str, Any]) -> Inputs:
    """Ids, mask and labels of what a collator of the house made: its weights say which tokens are targets."""
    ids = batch["input_ids"]
    return {"input_ids": ids, "attention_mask": batch["attention_mask"], "labels": ids.masked_fill(batch["weights"] == 0, IGNORED)}


def _count(batches: list[Inputs]) -> int:
    return int(sum((batch["labels"] != IGNORED).sum() for batch in batches))


def _joined(batches: list[Inputs]) -> Inputs:
    """Batches of different widths as one."""
    width = max(batch["input_ids"].shape[1] for batch in batches)
    fill = {"input_ids": 0, "attention_mask": 0, "labels": IGNORED}
    return {
        name: torch.cat([pad(batch[name], (0, width - batch[name].shape[1]), value=value) for batch in batches])
        for name, value in fill.items()
    }
