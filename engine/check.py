"""Everything that can be wrong with an experiment before it runs: spec, files, SQL, methods and their settings. Writes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from engine import evaluate, generate, graph, merge, models, pairs, prompts, score, select, specfile, train
from engine.cluster.check import check as check_clusters
from engine.errors import DataError, SpecError
from engine.generate import calibrate, cast, ceiling, followup, until
from engine.plan import steps as plans
from engine.score import measures
from engine.score.compared import Compared
from engine.score.measured_by_sql import MeasuredBySql
from engine.spec import Spec
from engine.step import BASE
from engine.train import sources, tiny


def check(spec: Spec, spec_path: Path) -> dict[str, int]:
    """Raises what is wrong (SpecError, DataError, QueryError, ModelError), each with its place; returns prompts by split."""

    def about(field: str, round_: int = 0) -> AbstractContextManager[None]:
        return _placed(spec, spec_path, field, round_)

    for round_, one in _distinct(spec):
        for index, scorer in enumerate(one.score):
            with about(f"score.{index}.{'verifier' if scorer.verifier else 'measure'}", round_):
                score.make(scorer) if scorer.verifier else measures.make(scorer)
        for index, measure in enumerate(one.measure):
            with about(f"measure.{index}.{'method' if measure.method else 'sql'}", round_):
                measures.make(measure) if measure.method else MeasuredBySql(measure, one.measure[:index], spec_path).check(one, spec_path)
        for index, compare in enumerate(one.compare):
            with about(f"compare.{index}.{'sql' if compare.sql else 'method'}", round_):
                Compared(compare, spec_path).check(one, spec_path)
        with about("score", round_):
            score.check(one)
        with about("cluster", round_):
            check_clusters(one, spec_path)
        with about("plan", round_):
            plans.check(one, spec_path)
        for index, role in enumerate(one.train):
            with about(f"train.{index}", round_):
                train.objective(role).check(one, role, spec_path)
                sources.check(one, role)
        for index, merged in enumerate(one.merge):
            with about(f"merge.{index}", round_):
                merge.merger(merged).check(one, merged, spec_path)
        with about("select.sql", round_):
            select.check(one, spec_path)
        with about("pairs.sql", round_):
            pairs.check(one, spec_path)
        with about("evaluate.metrics", round_):
            evaluate.check(one, spec_path)
        with about("generate.backend", round_):
            generate.check(one.generate.backend, one.generate.params, "generate.params", spec_path)
        with about("generate.actors", round_):
            for how in cast.cast(one):
                generate.check(how.backend, dict(how.params), how.field, spec_path)
            cast.check(one, spec_path)
        with about("generate.until", round_):
            until.check(one)
        with about("generate.ceiling", round_):
            ceiling.check(one)
        if one.calibrate:
            with about("calibrate", round_):
                calibrate.check(one)
        for index, entry in enumerate(followup.steps(one, spec_path)):
            with about(f"followup.{index}.sql", round_):
                entry.check(one, spec_path)
        if one.evaluate.backend:
            with about("evaluate.backend", round_):
                generate.check(one.evaluate.backend, one.evaluate.params, "evaluate.params", spec_path)
    if spec.base:
        with about("base.model"):
            tiny.check(spec.base.model)
    if spec.models.policy and not _on_hub(spec.models.policy, spec_path):
        models.check(models.resolve(spec.models.policy, spec_path))
    with about("prompts"):
        counts = prompts.check(spec, spec_path)
    for round_, one in _distinct(spec):
        if one.prompts != spec.prompts:
            with about("prompts", round_):
                prompts.check(one, spec_path)
    for round_ in range(BASE, spec.rounds):
        steps = graph.graph(spec, round_, spec_path)
        for step in steps.steps.values():
            step.settings(steps.spec, round_, spec_path)
    return counts


@contextmanager
def _placed(spec: Spec, spec_path: Path, field: str, round_: int) -> Iterator[None]:
    """Adds file and line to an error that a room raises about `field`, or about the field that its message starts with."""
    try:
        yield
    except (SpecError, DataError) as error:
        if error.where.startswith("/"):
            raise
        named = re.match(r"([a-z_]+(\.\w+)*)(?=: )", error.message)
        if named and not re.match(rf"{named[1].partition('.')[0]}\.\d", field):  # a room does not know which item of a list it has
            field = named[1]
        place = specfile.place(spec, field, round_, str(spec_path))
        where = place if error.message.startswith(error.where.partition(".")[0]) else f"{place}: {error.where}"
        raise type(error)(error.message, where=where, hint=error.hint) from error


def _distinct(spec: Spec) -> list[tuple[int, Spec]]:
    """The specs of all rounds, equal ones once, each with the first round that has it."""
    found: list[tuple[int, Spec]] = []
    for round_ in range(spec.rounds if spec.stages else 1):
        one = specfile.at(spec, round_)
        if all(one != other for _, other in found):
            found.append((round_, one))
    return found


def _on_hub(name: str, spec_path: Path) -> bool:
    """Whether the first policy will come from the hub, which is not asked before the first run."""
    return not (spec_path.parent / Path(name).expanduser()).is_dir() and models.HUB_ID.fullmatch(name) is not None
