"""Everything that can be wrong with an experiment before it runs: spec, files, SQL, methods and their settings. Writes nothing."""

from __future__ import annotations

from pathlib import Path

from engine import evaluate, generate, graph, models, prompts, score, select, specfile
from engine.spec import Spec
from engine.step import BASE


def check(spec: Spec, spec_path: Path) -> dict[str, int]:
    """Raises what is wrong (SpecError, DataError, QueryError, ModelError), each with its place; returns prompts by split."""
    for one in _distinct(spec):
        score.check(one)
        select.load(one, spec_path)
        evaluate.check(one, spec_path)
        generate.params(one.generate.backend, one.generate.params, "generate.params")
        if one.evaluate.backend:
            generate.params(one.evaluate.backend, one.evaluate.params, "evaluate.params")
    if spec.models.policy and not _on_hub(spec.models.policy, spec_path):
        models.digest(models.resolve(spec.models.policy, spec_path))
    counts = prompts.check(spec, spec_path)
    for round_ in range(BASE, spec.rounds):
        steps = graph.graph(spec, round_, spec_path)
        for step in steps.steps.values():
            step.settings(steps.spec, round_, spec_path)
    return counts


def _distinct(spec: Spec) -> list[Spec]:
    """The specs of all rounds, equal ones once."""
    found: list[Spec] = []
    for round_ in range(spec.rounds):
        one = specfile.at(spec, round_)
        if one not in found:
            found.append(one)
    return found


def _on_hub(name: str, spec_path: Path) -> bool:
    """Whether the first policy will come from the hub, which is not asked before the first run."""
    return not (spec_path.parent / Path(name).expanduser()).is_dir() and models.HUB_ID.fullmatch(name) is not None
