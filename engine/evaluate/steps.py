"""The step `evaluation`: every metric of the round's checkpoint on the gate and the test split, also by topic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.errors import StepError
from engine.evaluate import answers_schema, parse
from engine.evaluate.metrics import Metrics, summary
from engine.spec import Spec
from engine.step import POLICY, Context, Output, Ref, Step
from engine.tables import TABLES


class EvaluationStep(Step):
    """Reads the answers to held-out prompts and their scores; runs at the base and in every round."""

    name, table, part = "evaluation", "evaluations", POLICY

    def active(self, spec: Spec, round_: int) -> bool:
        return bool(suites(spec))

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """Answers, the combined score, each scorer, and the base's held-out prompts."""
        scores = [Ref("scores", f"eval/{name}") for name in _columns(spec)]
        return [Ref("generations", "eval"), *scores, *(Ref("prompts", suite, "base") for suite in suites(spec))]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """The SQL of every metric, its numbers, and whether topics are told apart."""
        metrics = {name: parse(name, spec_path) for name in spec.evaluate.metrics}
        texts = {name: [file.code(), *(given.values() or [None])] for name, (file, given) in metrics.items()}
        return {"metrics": texts, "by_topic": spec.evaluate.by_topic}

    def run(self, ctx: Context) -> Output:
        """A row for each suite, metric and topic (null: all). StepError where a prompt lacks an answer or a score."""
        table, prompts = answers(ctx)
        metrics = Metrics(table, ctx.spec_path)
        groups: dict[tuple[str, str | None], list[str]] = {}
        for prompt, (suite, topic) in sorted(prompts.items()):
            groups.setdefault((suite, None), []).append(prompt)
            if ctx.spec.evaluate.by_topic and topic is not None:
                groups.setdefault((suite, topic), []).append(prompt)
        rows = []
        for metric in ctx.spec.evaluate.metrics:
            values = metrics.values(metric)
            for (suite, topic), members in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] is not None, item[0][1] or "")):
                value, stderr, n = summary(values[prompt] for prompt in members)
                rows.append({"suite": suite, "metric": metric, "topic": topic, "value": value, "stderr": stderr, "n": n})
        whole = pa.Table.from_pylist(rows, schema=TABLES["evaluations"].columns)
        return Output({("evaluations", self.part): whole}, table.num_rows, {"prompts": len(prompts)})


def suites(spec: Spec) -> list[str]:
    """The held-out splits that the spec has."""
    return [suite for suite in ("gate", "test") if getattr(spec.prompts, suite) is not None]


def _columns(spec: Spec) -> list[str]:
    return ["score", *(scorer.column for scorer in spec.score)] if spec.score else []


def answers(ctx: Context) -> tuple[pa.Table, dict[str, tuple[str, str | None]]]:
    """The relation `answers`, and suite and topic of every held-out prompt.

    StepError where an answer has no prompt or lacks a score row, or a prompt has not `evaluate.samples` answers.
    """
    prompts: dict[str, dict[str, Any]] = {}
    for suite in suites(ctx.spec):
        for row in ctx.read(Ref("prompts", suite, "base"), ["prompt_id", "topic", "reference"]).to_pylist():
            prompts[row["prompt_id"]] = {"suite": suite, "topic": row["topic"], "reference": row["reference"]}
    columns = ["prompt_id", "sample", "generation_id", "content_id", "response", "response_tokens", "finish_reason"]
    rows = ctx.read(Ref("generations", "eval"), columns).to_pylist()
    counts = dict.fromkeys(prompts, 0)
    for row in rows:
        if row["prompt_id"] not in prompts:
            raise StepError(f"evaluation: answer {row['generation_id']} belongs to prompt {row['prompt_id']}, which is not held out")
        counts[row["prompt_id"]] += 1
        row |= prompts[row["prompt_id"]]
    samples = ctx.spec.evaluate.samples
    short = [prompt for prompt, count in counts.items() if count != samples]
    if short or not prompts:
        found = f"prompt {short[0]} has {counts[short[0]]}" if short else "there are no held-out prompts"
        text = f"evaluation: expected {samples} answers for each of {len(prompts):,} prompts; {found} ({len(short):,} such prompts)"
        raise StepError(text, hint="look at generations, part eval")
    _join_scores(ctx, rows)
    names = _columns(ctx.spec)[1:]
    return pa.Table.from_pylist(rows, schema=answers_schema(names)), {p: (v["suite"], v["topic"]) for p, v in prompts.items()}


def _join_scores(ctx: Context, rows: list[dict[str, Any]]) -> None:
    for column in _columns(ctx.spec):
        scores = ctx.read(Ref("scores", f"eval/{column}"), ["item_id", "value", "verdict"]).to_pylist()
        found = {score["item_id"]: score for score in scores}
        for row in rows:
            score = found.get(row["generation_id"])
            if score is None:
                text = f"evaluation: answer {row['generation_id']} has no row of scorer {column!r}"
                raise StepError(text, hint=f"look at scores, part eval/{column}")
            row[column] = score["value"]
            if column == "score":
                row["verdict"] = score["verdict"]


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The steps of this room."""
    return [EvaluationStep()]
