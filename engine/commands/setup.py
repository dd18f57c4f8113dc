"""Commands before a run: init, validate, recipes, methods, spec, env."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.commands import HomeOption, JsonOption, emit, home_of, out, say


def init(
    name: Annotated[str, typer.Argument(help="quickstart or gsm8k")] = "quickstart",
    seed: Annotated[int | None, typer.Option(help="quickstart: seed of its data.")] = None,
    train: Annotated[Path | None, typer.Option(help="gsm8k: your JSONL with the training split.")] = None,
    test: Annotated[Path | None, typer.Option(help="gsm8k: your JSONL with the test split.")] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Write a starter's experiments into the home."""
    from engine import starters

    place = home_of(home)
    options = {key: value for key, value in {"seed": seed, "train": train, "test": test}.items() if value is not None}
    paths = starters.create(name, place.experiments, **options)
    specs = [path for path in paths if path.suffix == ".yaml" and path.parent == place.experiments]
    if json:
        emit({"home": place.root, "files": paths, "experiments": [path.stem for path in specs]})
        return
    say(f"{place.experiments}")
    for path in paths:
        say(f"  {path.relative_to(place.experiments)}")
    say("next:")
    for path in sorted(specs, key=lambda path: (path.stem != name, path.stem)):
        say(f"  rondo run {path.stem}")


def validate(
    experiment: Annotated[str, typer.Argument(help="Name in the home, or path of a YAML.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key.sub=value ...")] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Check an experiment without running it.

    Spec, data files, SQL, scorers, metrics and backends; writes nothing.
    """
    from engine.check import check
    from engine.report import known

    found = known.load(experiment, home_of(home), overrides or [])
    counts = check(found.spec, found.path)
    if json:
        emit({"experiment": found.name, "path": found.path, "rounds": found.spec.rounds, "rows": counts})
        return
    rows = ", ".join(f"{split.replace('_', ' ')} {count:,}" for split, count in counts.items())
    say(f"{found.name}: good, {found.spec.rounds} rounds; rows: {rows}")


def recipes(name: Annotated[str | None, typer.Argument(help="Print this one's YAML.")] = None, json: JsonOption = False) -> None:
    """List the shipped recipes, or print one."""
    from engine import specfile
    from engine.errors import SpecError
    from engine.registry import nearest
    from engine.report.grid import show

    known = specfile.recipes()
    if name is not None:
        if name not in known:
            raise SpecError(f"no recipe {name!r}", hint=nearest(name, list(known)))
        text = known[name].read_text(encoding="utf-8")
        emit({"name": name, "yaml": text}) if json else say(text.rstrip("\n"))
        return
    rows = [(key, str(specfile.read_yaml(path).values.get("description", ""))) for key, path in known.items()]
    if json:
        emit([{"name": key, "description": text} for key, text in rows])
        return
    show(out(), ("recipe", "description"), rows, wide=0)
    say("use one with `extends: NAME`; `rondo recipes NAME` prints it")


def methods(
    name: Annotated[str | None, typer.Argument(metavar="[KIND|NAME]", help="verifier, measure, picker, ..., or one method.")] = None,
    json: JsonOption = False,
) -> None:
    """List what a spec can name: scorers, pickers, embedders ...

    With a kind or a name also their settings.
    """
    from engine.report.grid import show
    from engine.report.methods import KINDS
    from engine.report.methods import methods as find

    found = find(name) if name in KINDS else find(None, name)
    if json:
        emit([one.as_json() for one in found])
        return
    if name is None:
        show(out(), ("kind", "method", "what it is"), [(one.kind, one.name, one.trouble or one.description) for one in found], wide=110)
        say("`rondo methods NAME` prints its settings")
        return
    for one in found:
        say(f"{one.name}  ({one.kind}; {one.field})  {one.trouble or one.description}")
        if one.gives:
            say(f"    {one.gives}")
        if one.needs:
            say(f"    needs the columns {', '.join(f'{column} ({kind})' for column, kind in one.needs.items())}")
        rows = [(f"    {f.name}", f.type, f.default, f.unit, f.description) for f in one.settings]
        if rows:
            show(out(), ("    setting", "type", "default", "unit", "description"), rows, wide=0)


def spec(prefix: Annotated[str, typer.Argument(help="Only fields that start so, e.g. generate")] = "", json: JsonOption = False) -> None:
    """Print every field of a spec, with its default."""
    from engine.errors import SpecError
    from engine.registry import nearest
    from engine.report.fields import settings
    from engine.report.grid import show

    fields = settings()
    found = [field for field in fields if field.name.startswith(prefix)]
    if not found:
        raise SpecError(f"no field starts with {prefix!r}", hint=nearest(prefix, [field.name for field in fields]))
    if json:
        emit([field.as_json() for field in found])
        return
    rows = [(f.name, f.type, f.default, f.unit, f.description) for f in found]
    show(out(), ("field", "type", "default", "unit", "description"), rows, wide=0)


def env(home: HomeOption = None, json: JsonOption = False) -> None:
    """Print what a bug report needs."""
    from engine.report.machine import facts

    found = facts(home_of(home))
    if json:
        emit(found)
        return
    for key, value in found.items():
        if isinstance(value, dict):
            say(f"{key}:")
            for name, inner in value.items():
                say(f"  {name:<18} {inner}")
        else:
            say(f"{key:<20} {value}")
