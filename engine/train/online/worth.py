"""What answers are worth: the reward that a score becomes, and numbers of a batch for the log. Plain numbers, no tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engine.train.online import OnlineParams
from engine.train.online.advantages import same
from engine.train.online.blocks import Batch
from engine.train.online.rollouts import Group


def reward(row: Mapping[str, Any], score: float | None, params: OnlineParams) -> float | None:
    """The reward of an answer (a row of generations) with its combined score; None where it has neither.

    `scale` times the score, or `missing_eos` for an answer that was cut off, as in RLVR (Lambert et al., "Tulu 3", arXiv 2411.15124:
    10 for a right answer, -10 without an end). Other shapes, such as sigmoid(0.5 * rm) + (verifier - 1), are SQL in `combine`.
    """
    if params.missing_eos is not None and row["finish_reason"] != "stop":
        return params.missing_eos
    return None if score is None else score * params.scale


def by_prompt(batch: Batch, values: Sequence[Any]) -> list[list[Any]]:
    """Values of a batch's answers, a list for each of its prompts."""
    found, start = [], 0
    for numbers in batch.samples:
        found.append(list(values[start : start + len(numbers)]))
        start += len(numbers)
    return found


def facts(group: Group) -> dict[str, float]:
    """reward and reward_std (population) over the answers that have one, frac_zero_std: the share of prompts whose rewards are all
    equal, completion_length: mean tokens, truncated: the share of answers that did not end by themselves."""
    known = [r for r in group.rewards if r is not None]
    mean = math.fsum(known) / max(1, len(known))
    groups = by_prompt(group.batch, group.rewards)
    return {
        "reward": mean,
        "reward_std": math.sqrt(math.fsum((r - mean) ** 2 for r in known) / max(1, len(known))),
        "frac_zero_std": sum(map(same, groups)) / len(groups),
        "completion_length": sum(len(row["tokens"]) for row in group.answers) / len(group.answers),
        "truncated": sum(row["finish_reason"] != "stop" for row in group.answers) / len(group.answers),
    }
