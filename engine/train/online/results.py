"""What an online training leaves in the lake: its answers, their scores, and which of them trained when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from engine.errors import StepError
from engine.score.combine import score_rows, sources
from engine.score.expression import ITEM, Expression
from engine.spec import Spec
from engine.tables import TABLES
from engine.train import Trained
from engine.train.online import part
from engine.train.online.rollouts import Group, Rollouts


def told(trained: Trained, rollouts: Rollouts, spec: Spec, role: str, label: str) -> Trained:
    """`trained` with the answers as its rows, and the tables that they fill. StepError where an answer has no row of scores."""
    groups: dict[tuple[int, int], Group] = {}
    for block in rollouts.schedule.blocks:
        groups |= {(block.number, place): group for place, group in enumerate(rollouts.groups(block))}
    steps = [groups[step] for step in rollouts.schedule.steps]
    answers, own = _answers(rollouts, spec.generate.keep_tokens), part(role)
    scores = rollouts.verdicts()
    expression = Expression.of(spec)
    asked = [rollouts.prompts] if expression.of_prompts else []
    scores["score"] = score_rows(
        expression,
        scores,
        answers.select([ITEM, *sources(expression)]) if expression.of_generations else None,
        asked,
        label,
    )
    lost = {name: rows.num_rows for name, rows in scores.items() if rows.num_rows != answers.num_rows}
    if lost:
        raise StepError(f"{label}: {answers.num_rows} answers in, {lost} scores out")
    return replace(
        trained,
        row_ids=[row for group in steps for row in group.ids],
        rows_expected=sum(group.batch.answers for group in steps),
        tokens=sum(row["prompt_tokens"] + row["response_tokens"] for group in steps for row in group.answers),
        detail=trained.detail | {"answers": answers.num_rows, "without_reward": _without(groups)},
        tables={("generations", own): answers, **{("scores", f"{own}/{name}"): _rows(rows) for name, rows in scores.items()}},
    )


def _without(groups: Mapping[Any, Group]) -> int:
    return sum(reward is None for group in groups.values() for reward in group.rewards)


def _rows(rows: pa.Table) -> pa.Table:
    """Rows of scores by item, whatever the order in which they were judged."""
    return rows.select(TABLES["scores"].columns.names).sort_by("item_id")


def _answers(rollouts: Rollouts, keep_tokens: bool) -> pa.Table:
    """Rows of generations of all blocks, in the order in which they were answered. `meta` (JSON): step (optimizer steps done when the
    answer was sampled), reward and advantage."""
    rows = []
    for block, group in rollouts.all():
        for row, reward, advantage in zip(group.answers, group.rewards, group.advantages, strict=True):
            meta = {"step": block.after, "reward": reward, "advantage": round(advantage, 6) + 0.0}
            tokens = {} if keep_tokens else {"tokens": None, "token_logprobs": None}
            rows.append(row | tokens | {"meta": json.dumps(meta)})
    return pa.Table.from_pylist(rows, schema=TABLES["generations"].columns)
