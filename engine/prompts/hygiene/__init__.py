"""Hygiene: which prompts of the train files no round may draw, and why. One file a rule; the table is `prompts_dropped`.

Rules apply in this order, each to what the ones before left: `length` and `language`, which cost little; `decontaminate`, so that no
prompt gives way to one that goes itself; `near` and `semantic`; `cap`, which counts what is left. Exact duplicates are settled before,
by `prompts.duplicates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine.errors import StepError
from engine.prompts.hygiene.rule import Drop, Row, Scene
from engine.spec import Hygiene, Prompts, Spec

__all__ = ["Drop", "Scene", "check", "clean", "fingerprint", "rules"]

Rule = Callable[[list[Row]], list[Drop]]


def rules(prompts: Prompts, scene: Scene) -> Iterator[tuple[str, Rule]]:
    """The rules that are switched on, by name and in order."""
    settings = prompts.hygiene or Hygiene()
    near, semantic, against = settings.near, settings.semantic, settings.decontaminate
    if settings.min_words or settings.max_words is not None:
        from engine.prompts.hygiene.length import length

        yield "length", lambda rows: length(rows, settings)
    if settings.languages:
        from engine.prompts.hygiene.language import language

        yield "language", lambda rows: language(rows, settings, scene)
    if against is not None:
        from engine.prompts.hygiene.decontaminate import decontaminate

        yield "decontaminate", lambda rows: decontaminate(rows, against, prompts, scene)
    if near is not None:
        from engine.prompts.hygiene.near import near as near_rule

        yield "near", lambda rows: near_rule(rows, near, scene)
    if semantic is not None:
        from engine.prompts.hygiene.semantic import semantic as semantic_rule

        yield "semantic", lambda rows: semantic_rule(rows, semantic, scene)
    if settings.cap is not None:
        from engine.prompts.hygiene.cap import cap

        yield "cap", lambda rows: cap(rows, settings)


def clean(pool: list[Row], prompts: Prompts, scene: Scene) -> tuple[list[Row], list[dict[str, Any]]]:
    """(rows that stay, in their order; rows of `prompts_dropped`). StepError where a rule drops a row twice or one that is not there."""
    rows, dropped = pool, []
    for name, rule in rules(prompts, scene):
        drops = rule(rows) if rows else []
        gone = {drop.index for drop in drops}
        if len(gone) < len(drops) or not gone <= set(range(len(rows))):
            raise StepError(f"hygiene: rule {name} dropped {len(drops)} of {len(rows)} prompts, but only {len(gone)} different ones")
        for drop in drops:
            row = rows[drop.index]
            why = {"rule": name, "twin_id": drop.twin_id, "suite": drop.suite, "value": drop.value, "reason": drop.reason}
            dropped.append({"prompt_id": row["prompt_id"], **why, "source": row["source"]})
        rows = [row for index, row in enumerate(rows) if index not in gone]
    return rows, dropped


def fingerprint(spec: Spec, spec_path: Path) -> dict[str, Any]:
    """JSON of everything that decides what is dropped: settings, files of evaluation sets, detector and embedder."""
    settings = spec.prompts.hygiene or Hygiene()
    found = settings.model_dump(mode="json", exclude={"decontaminate": {"against"}})
    if settings.decontaminate:
        from engine.prompts.hygiene.suites import digests

        found["suites"] = digests(settings.decontaminate, spec_path.parent)
    if settings.languages:
        found["detector"] = version("py3langid")
    if settings.semantic:
        from engine.prompts.hygiene import semantic

        found |= {"embedder": semantic.fingerprint(settings.semantic, spec_path), "seed": spec.seed}
    return found


def check(spec: Spec, scene: Scene, train: list[Row]) -> None:
    """Raises what is wrong with the settings and with the evaluation files, before any rule runs."""
    settings = spec.prompts.hygiene
    if settings is None:
        return
    if settings.languages:
        from engine.prompts.hygiene import language

        language.check(settings)
    if settings.decontaminate:
        from engine.prompts.hygiene.suites import items

        items(settings.decontaminate, spec.prompts, scene.spec_path.parent, scene.held)
    if settings.semantic:
        from engine.prompts.hygiene import semantic

        semantic.check(settings.semantic, scene)
    if settings.cap is not None:
        from engine.prompts.groups import grouping

        grouping(train, settings.cap_by, "prompts.hygiene.cap_by")
