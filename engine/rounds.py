"""What is done, what is stale and why, what comes next: pure functions of the ledger and the decisions.

The same answer headless, in the Dagster UI and after a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine import specfile
from engine.graph import Graph, graph
from engine.ids import digest
from engine.ledger import DEVICE, OPENING, Entry
from engine.promotion import EFFECTIVE, Decision
from engine.promotion.stop import Flat, recorded
from engine.spec import Spec
from engine.step import BASE, Ref

Entries = dict[tuple[int, str], Entry]


@dataclass(frozen=True)
class Verdict:
    """What a step of a round needs: done (nothing), runs (with the reason), waits (a step it reads must run first)."""

    round: int
    step: str
    state: Literal["done", "runs", "waits"]
    why: str
    fingerprint: str | None = None


@dataclass(frozen=True)
class State:
    """An experiment at one moment: its spec and what the lake says of it."""

    spec: Spec
    spec_path: Path
    entries: Entries
    rows: Sequence[Decision]

    def opening(self, round_: int) -> int:
        """How often this round was opened again, by itself or because an earlier one was."""
        return max((e.ingredients["opening"] for (r, s), e in self.entries.items() if s == OPENING and r <= round_), default=0)

    def decisions(self) -> list[Decision]:
        """The decisions that count, oldest first: those of rounds that were not reopened since."""
        return sorted((d for d in self.rows if d.opening == self.opening(d.round)), key=lambda d: d.sequence)

    def closed(self, round_: int) -> bool:
        """Whether the round has a decision of its current opening; such a round is never recomputed by itself."""
        entry = self.entries.get((round_, "promotion"))
        return entry is not None and entry.ingredients["opening"] == self.opening(round_)

    def undecided(self) -> int | None:
        """The first round without a decision, whatever the stop rule says; None when all rounds have one."""
        return next((r for r in range(BASE, self.spec.rounds) if not self.closed(r)), None)

    def next_round(self) -> int | None:
        """The round that comes next; None when all rounds are done, or the learning curve has flattened."""
        return None if self.flat() else self.undecided()

    def flat(self) -> Flat | None:
        """The stop rule's end of the experiment: rounds are left, and the last one's verdict says that they gain too little.

        A verdict of other settings than the spec's does not count, nor does one after which somebody has opened a round.
        """
        left = self.undecided()
        entry = None if left is None or left == BASE else self.entries[left - 1, "promotion"]
        if left is None or entry is None or "stop" not in entry.detail:
            return None
        opened = self.entries.get((left, OPENING))
        if opened is not None and opened.ingredients["opening"] == self.opening(left):
            return None
        why = recorded(entry.detail, specfile.at(self.spec, left - 1).stop)
        return None if why is None else Flat(left - 1, why)

    def unopened(self) -> int:
        """The next round that no step has touched in its current opening."""
        opened = [
            r for (r, s), e in self.entries.items() if s == OPENING and (self.closed(r) or e.ingredients["opening"] == self.opening(r))
        ]
        return max(opened, default=BASE - 1) + 1

    def stopped(self) -> Decision | None:
        """The decision that holds the experiment: a held checkpoint under `on_fail: stop` that nobody has answered."""
        decisions = [d for d in self.decisions() if d.role == "policy"]
        if not decisions or decisions[-1].decision != "held":
            return None
        return decisions[-1] if specfile.at(self.spec, decisions[-1].round).gate.on_fail == "stop" else None

    def policy(self, round_: int) -> str | None:
        """Digest of the model that generates in a round: the latest promotion effective before it."""
        effective = [d for d in self.decisions() if d.decision in EFFECTIVE and d.effective_round <= round_ and d.role == "policy"]
        return effective[-1].digest if effective else None

    def graph(self, round_: int) -> Graph:
        """The steps of a round."""
        return graph(self.spec, round_, self.spec_path)

    def ingredients(self, round_: int, step: str) -> dict[str, Any] | None:
        """Everything that enters the fingerprint; None while a step that it reads has not run."""
        steps = self.graph(round_)
        one = steps.steps[step]
        inputs: dict[str, Any] = {}
        for ref in steps.refs[step]:
            found = self._content(steps, ref, round_)
            if found is None:
                return None
            inputs[f"{ref.when}:{ref.table}/{ref.part or '*'}{f'-{ref.ago}' if ref.ago else ''}"] = found
        made: dict[str, Any] = {
            "step": step,
            "revision": one.revision,
            "inputs": inputs,
            "settings": one.settings(steps.spec, round_, self.spec_path),
        }
        if one.on_device:
            made["device"] = self.entries[BASE, DEVICE].ingredients
        if step == "policy":
            made["settings"] = {"digest": self.policy(round_)}
        if step == "promotion":
            made["opening"] = self.opening(round_)
        return made

    def _content(self, steps: Graph, ref: Ref, round_: int) -> Any:
        if ref.when == "history":
            names = sorted((r, key, e.hashes[key]) for (r, _), e in self.entries.items() if r < round_ for key in e.hashes)
            return [[r, key, value] for r, key, value in names if _means(ref, key)]
        if ref.table == "policy":
            entry = self.entries.get((max(0, round_ - ref.ago), "policy"))
            return entry.content_hash if entry else None
        own = round_ if ref.when == "round" else BASE
        owner = steps if own == round_ else self.graph(own)
        hashes = {}
        for table, part in owner.parts(ref):
            entry = self.entries.get((own, owner._writer[table, part]))
            if entry is None:
                return None
            hashes[f"{table}/{part}"] = entry.hashes[f"{table}/{part}"]
        return hashes

    def verdict(self, round_: int, step: str, moved: frozenset[str] = frozenset()) -> Verdict:
        """Whether a step is done, must run (and why), or waits for one of `moved`, steps that will run before it."""
        waits = sorted(self.graph(round_).upstream(step) & moved)
        if waits:
            return Verdict(round_, step, "waits", f"after {', '.join(waits)}")
        made = self.ingredients(round_, step)
        if made is None:
            return Verdict(round_, step, "waits", "after a step that has not run")
        fingerprint, entry = digest(made), self.entries.get((round_, step))
        if entry is None:
            return Verdict(round_, step, "runs", "never run", fingerprint)
        if entry.fingerprint == fingerprint:
            return Verdict(round_, step, "done", "", fingerprint)
        return Verdict(round_, step, "runs", "; ".join(differences(entry.ingredients, made)) or "changed", fingerprint)

    def round_plan(self, round_: int) -> list[Verdict]:
        """A verdict for each step of a round, in order."""
        moved: frozenset[str] = frozenset()
        verdicts = []
        for step in self.graph(round_).steps:
            verdict = self.verdict(round_, step, moved)
            verdicts.append(verdict)
            if verdict.state != "done":
                moved |= {step}
        return verdicts

    def drift(self, round_: int) -> list[Verdict]:
        """For a closed round: the steps whose settings or inputs are not those they ran with. It stays as it is."""
        return [v for v in self.round_plan(round_) if v.state == "runs"] if self.closed(round_) else []


def _means(ref: Ref, key: str) -> bool:
    table, _, part = key.partition("/")
    if table != ref.table:
        return False
    return not part.startswith("eval") if ref.part is None else part == ref.part


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """The leaves in which two ingredient trees differ, as 'settings.top: 1 -> 2'; long values only by name."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        return [d for key in keys for d in differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)]
    if old == new:
        return []
    texts = [str(old), str(new)]
    if name.startswith("inputs") or max(map(len, texts)) > 40:
        return [f"{name} changed"]
    return [f"{name}: {texts[0]} -> {texts[1]}"]
