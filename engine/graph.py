"""The steps of a round, in an order that follows from what each declares that it reads."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

from engine import specfile
from engine.errors import SpecError
from engine.spec import Spec
from engine.step import BASE, Ref, Step

# the policy comes first
ROOMS = ("promotion", "plan", "prompts", "cluster", "generate", "score", "select", "pairs", "train", "merge", "evaluate")


class Graph:
    """The active steps of one round, in topological order."""

    def __init__(self, spec: Spec, round_: int, spec_path: Path) -> None:
        self.spec, self.round, self.spec_path = spec, round_, spec_path
        steps = [step for room in ROOMS for step in import_module(f"engine.{room}.steps").steps(spec, spec_path)]
        active = {step.name: step for step in steps if step.active(spec, round_)}
        self.refs = {name: step.reads(spec, round_) for name, step in active.items()}
        self._writer = {key: name for name, step in active.items() for key in step.fills(round_)}
        needed = self._needed(active)
        sorter = TopologicalSorter({name: self.upstream(name) & needed for name in active if name in needed})
        try:
            order = list(sorter.static_order())
        except CycleError as error:
            # graphlib lists what a step needs before the step; a reader expects "a reads b"
            circle = " reads ".join(reversed(error.args[1]))
            raise SpecError(
                f"the steps read each other in a circle: {circle}",
                where=str(spec_path),
                hint="rows that train a model cannot be chosen by what the same model says in the same round (a SQL that takes all columns "
                "of `scored`, or reads `scores` or `preferences`, reads all that is in them); <role>-last is an earlier round's checkpoint",
            ) from error
        self.steps: dict[str, Step] = {name: active[name] for name in order}

    def upstream(self, name: str) -> set[str]:
        """Steps of the same round that `name` reads from."""
        found = set()
        for ref in self.refs[name]:
            if ref.when == "round" or (ref.when == "base" and self.round == BASE):
                found |= {writer for key, writer in self._writer.items() if _covers(ref, *key)}
                found |= {"policy"} if ref.table == "policy" and self.round != BASE else set()
        return found - {name}

    def parts(self, ref: Ref) -> list[tuple[str, str]]:
        """The (table, part)s of this round that a reference of this round means."""
        return sorted(key for key, name in self._writer.items() if _covers(ref, *key) and name in self.steps)

    def _needed(self, active: dict[str, Step]) -> set[str]:
        """Steps that a checkpoint, an evaluation or the decision reads, directly or not; rollout scores for the record."""
        todo = [
            n for n in active if n.startswith(("checkpoint", "embeddings_", "clusters_")) or n in ("evaluation", "promotion", "heldout")
        ]
        needed: set[str] = set()
        while todo:
            name = todo.pop()
            if name not in needed and name in active:
                needed.add(name)
                todo += self.upstream(name)
                if name == "generations":
                    todo += [n for n in active if n.startswith(("scores_", "compare_")) or n == "score"]
        return needed


def _covers(ref: Ref, table: str, part: str) -> bool:
    if ref.table != table:
        return False
    if ref.part is None:
        return not part.startswith("eval")
    return part.startswith(ref.part[:-1]) if ref.part.endswith("/*") else part == ref.part


@lru_cache(maxsize=256)
def _graph(text: str, round_: int, spec_path: Path) -> Graph:
    return Graph(specfile.at(Spec.model_validate_json(text), round_), round_, spec_path)


def graph(spec: Spec, round_: int, spec_path: Path) -> Graph:
    """The steps of a round of the experiment, stages applied."""
    return _graph(spec.model_dump_json(), round_, spec_path)


def union(spec: Spec, spec_path: Path) -> tuple[dict[str, Step], dict[str, set[str]]]:
    """Every step that some round has, and what each reads in its own round: the Dagster graph."""
    steps: dict[str, Step] = {}
    edges: dict[str, set[str]] = {}
    for round_ in _rounds_that_differ(spec):
        one = graph(spec, round_, spec_path)
        for name, step in one.steps.items():
            steps.setdefault(name, step)
            edges[name] = edges.get(name, set()) | (one.upstream(name) & set(one.steps))
    return steps, edges


def _rounds_that_differ(spec: Spec) -> Iterable[int]:
    return range(BASE, spec.rounds) if spec.stages else (BASE, 0)
