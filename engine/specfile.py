"""Reads spec files: `extends`, overrides, stages, and errors that name file, line, field and the nearest allowed key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from engine.errors import SpecError
from engine.registry import nearest
from engine.spec import Spec
from engine.yamlfile import Key, Source, read_yaml

RECIPES = Path(__file__).parent / "recipes"
UNSTAGED = ("experiment", "base", "stages")
_places: dict[str, dict[Key, str]] = {}  # where the settings of the specs that were loaded last stand


def merge(below: Source, above: Source, key: Key = ()) -> Source:
    """`above` over `below`: mappings merge, everything else is replaced, with the places following."""
    values = dict(below.values)
    places = dict(below.places)
    for name, value in above.values.items():
        inner = (*key, name)
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            merged = merge(Source(values[name], places), Source(value, above.places), inner)
            values[name], places = merged.values, merged.places
        else:
            values[name] = value
            places = {k: v for k, v in places.items() if k[: len(inner)] != inner}
            places |= {k: v for k, v in above.places.items() if k[: len(inner)] == inner}
    return Source(values, places)


def recipes() -> dict[str, Path]:
    """Shipped recipes by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.yaml"), key=lambda path: path.stem)}


def _parent(name: str, child: Path, where: str) -> Path:
    """A file beside `child`, else a shipped recipe, which may have the name of `child`."""
    found = [path for path in (child.parent / name, child.parent / f"{name}.yaml") if path.is_file()]
    for path in found:
        if path.resolve() != child.resolve():
            return path
    if name in recipes():
        return recipes()[name]
    if found:
        raise SpecError(f"extends: goes in a circle: {child.name} -> {child.name}", where=where)
    raise SpecError(f"extends: no recipe or file {name!r}", where=where, hint=nearest(name, list(recipes())))


def gather(path: Path, seen: tuple[Path, ...] = ()) -> Source:
    """The values of `path` over those it extends, parents first."""
    source = read_yaml(path)
    parent = source.values.pop("extends", None)
    if parent is None:
        return source
    if not isinstance(parent, str):
        raise SpecError(f"extends: expected the name of a recipe or file, found {parent!r}", where=source.place(("extends",)))
    where, seen = source.place(("extends",)), (*seen, path.resolve())
    found = _parent(parent, path, where)
    if found.resolve() in seen:
        raise SpecError(f"extends: goes in a circle: {' -> '.join(p.name for p in (*seen, found))}", where=where)
    return merge(gather(found, seen), source)


def override(source: Source, texts: Sequence[str]) -> Source:
    """Command-line overrides `key.sub=value` (value is YAML; list items by number, e.g. train.0.learning_rate=1e-4)."""
    for text in texts:
        name, equals, value = text.partition("=")
        key: Key = tuple(int(p) if p.isdecimal() else p for p in name.strip().split("."))
        if not equals or "" in key or isinstance(key[0], int):
            raise SpecError(f"override {text!r}: expected key.sub=value", where="command line")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SpecError(f"override {text!r}: the value is not YAML ({error})", where="command line") from error
        if isinstance(parsed, str) and re.fullmatch(r"[-+]?\d+(\.\d+)?[eE][-+]?\d+", parsed):
            parsed = float(parsed)  # YAML 1.1 reads 1e-5 as text
        _put(source.values, key, parsed, text)
        source.places[key] = f"command line: {text}"
    return source


def _put(values: Any, key: Key, value: Any, text: str) -> None:
    for part in key[:-1]:
        if isinstance(part, int) and isinstance(values, (list, tuple)) and part < len(values):
            values = values[part]
        elif isinstance(values, dict) and not isinstance(part, int):
            inner = values.get(part)
            if inner is None:
                inner = values[part] = {}
            if not isinstance(inner, (dict, list)):
                raise SpecError(f"override {text!r}: {part!r} is a value ({_short(inner)}), it has no keys", where="command line")
            values = inner
        else:
            raise SpecError(f"override {text!r}: no item {part!r}", where="command line")
    last = key[-1]
    if isinstance(values, list) and not (isinstance(last, int) and last < len(values)):
        raise SpecError(f"override {text!r}: no item {last!r} in a list of {len(values)}", where="command line")
    if isinstance(values, dict) and isinstance(last, int):
        raise SpecError(f"override {text!r}: item {last} of something that is not a list", where="command line")
    values[last] = value


def load(path: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """The validated spec of a file. Raises SpecError with every problem, each with its place."""
    source = override(gather(Path(path)), overrides)
    spec = build(source)
    if spec.stages:
        for round_ in sorted(_turns(spec, source.places)):
            build(_stages(spec, round_, source.places))
    if len(_places) > 64:
        _places.pop(next(iter(_places)))
    _places[spec.model_dump_json()] = source.places
    return spec


def place(spec: Spec, field_: str, round_: int, default: str) -> str:
    """Where a setting of a loaded spec (or the closest one above it) was set for a round; `default` where nobody knows."""
    places = _places.get(spec.model_dump_json(), {})
    key: Key = tuple(int(p) if p.isdecimal() else p for p in field_.split("."))
    for index, stage in reversed(list(enumerate(spec.stages))):
        if key[0] in stage and round_ in _span(stage, index, places):
            key = ("stages", index, *key)
            break
    return Source({}, {(): default} | places).place(key)


def _turns(spec: Spec, places: dict[Key, str]) -> set[int]:
    """Rounds at which a stage begins or ends: between them the spec stays as it is."""
    found = {0}
    for index, stage in enumerate(spec.stages):
        span = _span(stage, index, places)
        found |= {span.start, span.stop}
    return {round_ for round_ in found if round_ < spec.rounds}


def build(source: Source) -> Spec:
    """Validates plain values; every problem of the spec in one SpecError."""
    try:
        return Spec.model_validate(_floats(source.values))
    except ValidationError as error:
        lines = [_problem(source, problem) for problem in error.errors(include_url=False)]
        raise SpecError("\n".join(dict.fromkeys(lines)), hint="`rondo spec` prints every field; `rondo recipes` the recipes") from error


def _floats(value: Any) -> Any:
    """YAML 1.1 reads 1e-5 (no dot) as text; people mean a number."""
    if isinstance(value, dict):
        return {k: _floats(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_floats(v) for v in value]
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value


def _problem(source: Source, problem: Any) -> str:
    loc: Key = tuple(part for part in problem["loc"] if not (isinstance(part, str) and re.search(r"[\[(]|^(str|Holdout|int)$", part)))
    name = ".".join(str(part) for part in loc) or "spec"
    place = source.place(loc)
    found = "" if problem["type"] == "missing" else f", found {_short(problem['input'])}"
    message = problem["msg"].removeprefix("Value error, ")
    if not loc and (about := re.match(r"([a-z_.]+): ", message)):  # a check of the whole spec says which field it is about
        name, message = about[1], message[about.end() :]
        place = source.place(tuple(name.split(".")))
    if problem["type"] == "extra_forbidden":
        message, found = f"unknown key; {nearest(str(loc[-1]), _keys(loc[:-1]))}", ""
    elif problem["type"] == "value_error":
        found = "" if isinstance(problem["input"], dict) else found
    elif problem["type"] == "missing":
        message = "this setting is required"
    return f"{place}: {name}: {message}{found}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."


def _keys(loc: Key) -> list[str]:
    """Field names of the model at `loc`."""
    model: Any = Spec
    for part in loc:
        if isinstance(part, int):
            continue
        model = next((m for m in _models(model.model_fields[part].annotation)), Spec)
    return list(model.model_fields) + (["extends"] if model is Spec else [])


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in _models(inner)]


def stage_rounds(text: Any, where: str = "") -> range:
    """'0-1' -> 0, 1; '2-' -> 2 and later; '3' -> 3. SpecError for anything else."""
    match = re.fullmatch(r"(\d+)(-(\d*))?", str(text).strip())
    if not match:
        raise SpecError(f"stages: rounds {text!r}: expected '0-1', '2-' or '3'", where=where)
    first, last = int(match[1]), int(match[3]) if match[3] else (1 << 31 if match[2] else int(match[1]))
    return range(first, last + 1)


def _span(stage: dict[str, Any], index: int, places: dict[Key, str]) -> range:
    """The rounds of a stage; SpecError where it does not say, or changes what no round can change."""
    whole = Source(stage, places)
    where = whole.place(("stages", index))
    if "rounds" not in stage:
        raise SpecError(f"stages.{index}: each stage needs `rounds`", where=where)
    for name in UNSTAGED:
        if name in stage:
            raise SpecError(f"stages.{index}.{name}: is the same in all rounds", where=whole.place(("stages", index, name)))
    return stage_rounds(stage["rounds"], whole.place(("stages", index, "rounds")))


def _stages(spec: Spec, round_: int, places: dict[Key, str]) -> Source:
    """The values of one round: those of its stages over the rest."""
    source = Source(spec.model_dump(mode="json", exclude={"stages"}), {(): "spec"})
    for index, stage in enumerate(spec.stages):
        if round_ in _span(stage, index, places):
            own = {key[2:]: place for key, place in places.items() if key[:2] == ("stages", index)}
            source = merge(source, Source({k: v for k, v in stage.items() if k != "rounds"}, own))
    return source


@lru_cache(maxsize=256)
def _staged(text: str, round_: int) -> Spec:
    return build(_stages(Spec.model_validate_json(text), round_, {}))


def at(spec: Spec, round_: int) -> Spec:
    """The spec of one round: its stages merged over the rest."""
    return _staged(spec.model_dump_json(), round_) if spec.stages else spec
