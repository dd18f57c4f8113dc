"""A small round to judge: answers, a scripted judge on this machine, tiny judges on disk, and the steps over them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import models
from engine.score.compared import Compared
from engine.score.measured import Measured
from engine.step import Device, Model, Ref
from fakes import FakeContext, generations, prompts_table, spec_of
from generate_tiny import CPU, Notes
from server.scripted import Act, completion, said

ANSWERS = [("p", "good"), ("p", "bad"), ("q", "good"), ("q", "fair")]


@dataclass
class JudgeContext(FakeContext):
    """A fake context with a device, notes and models by name."""

    device: Device = CPU
    progress: Notes = field(default_factory=Notes)
    folders: dict[str, Path] = field(default_factory=dict)

    def model(self, which: str, role: str = "policy") -> Model:
        return Model(models.digest(self.folders[which]), self.folders[which])


def context(folder: Path, answers: list[tuple[str, str]] = ANSWERS, folders: dict[str, Path] | None = None, **parts: Any) -> JudgeContext:
    """A round with these answers to the prompts p and q; `parts` of the spec."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {Ref("generations", "rollout"): generations(answers), Ref("prompts", "train"): prompts_table({"p": "1", "q": "2"})}
    return JudgeContext(spec_of(**parts), folder, tables=tables, folders=folders or {})


def measured(ctx: JudgeContext, suffix: str = "") -> list[dict[str, Any]]:
    """What the first measure says of each answer, in order."""
    out = Measured(ctx.spec.measure[0]).run(ctx)
    return out.rows["scores", f"rollout/{ctx.spec.measure[0].column}{suffix}"].to_pylist()


def compared(ctx: JudgeContext) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The rows of the first comparer by (left, right, order)."""
    entry = ctx.spec.compare[0]
    rows = Compared(entry, ctx.spec_path).run(ctx).rows["preferences", f"rollout/{entry.column}"].to_pylist()
    return {(row["left_id"], row["right_id"], row["order"]): row for row in rows}


def keep(ctx: JudgeContext, table: str, part: str, rows: pa.Table, round_: int = 0) -> None:
    """Puts rows into the lake, where the next step's cache finds them."""
    ctx.lake.replace(table, rows, experiment=ctx.spec.experiment, round=round_, part=part)


def between(text: str, tag: str) -> str:
    """What stands between <tag> and </tag>."""
    return text.split(f"<{tag}>")[1].split(f"</{tag}>")[0].strip()


def chance(*parts: Any) -> float:
    """A number in [0, 1) of its arguments."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32


def replies(of: dict[str, list[str]]) -> Act:
    """For an answer the texts of its votes, one after the other as their requests come."""
    seen: dict[str, int] = {}

    def act(handler: Any, number: int, body: dict[str, Any]) -> None:
        answer = between(said(body), "answer")
        with handler.server.lock:
            place = seen[answer] = seen.get(answer, -1) + 1
        handler.send(200, completion(of[answer][place % len(of[answer])], 10, 4))

    return act
