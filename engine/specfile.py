"""Reads spec files: `extends`, overrides, stages, and errors that name file, line, field and the nearest allowed key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from engine.errors import SpecError
from engine.registry import nearest
from engine.spec import Spec

RECIPES = Path(__file__).parent / "recipes"
Key = tuple[str | int, ...]


@dataclass
class Source:
    """Plain values and, for each key path, the place (file:line or override) that set it."""

    values: dict[str, Any]
    places: dict[Key, str] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """Where `key`, or the closest parent that stands somewhere, was set."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, "spec")


def read_yaml(path: Path) -> Source:
    """A YAML mapping with the line of every key. SpecError for text that is not one (duplicate keys included)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read the spec: {error}", where=str(path)) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"not YAML: {getattr(error, 'problem', error)}", where=f"{path}{line}") from error
    if not isinstance(node, yaml.MappingNode):
        raise SpecError("expected a mapping of settings, found " + ("nothing" if node is None else node.tag), where=str(path))
    places: dict[Key, str] = {}
    _mark(node, (), path, places)
    loader = yaml.SafeLoader("")
    try:
        values = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise SpecError(f"not YAML: {error}", where=str(path)) from error
    return Source(values, places)


def _mark(node: yaml.Node, key: Key, path: Path, places: dict[Key, str]) -> None:
    places.setdefault(key, f"{path}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = (*key, name.value)
            if inner in places:
                raise SpecError(f"key {name.value!r} stands twice", where=f"{path}:{name.start_mark.line + 1}")
            places[inner] = f"{path}:{name.start_mark.line + 1}"
            _mark(value, inner, path, places)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _mark(value, (*key, index), path, places)


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
    return {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}


def _parent(name: str, child: Path, where: str) -> Path:
    beside = child.parent / name
    for path in (beside, beside.with_suffix(".yaml")):
        if path.is_file() and path.resolve() != child.resolve():
            return path
    if name in recipes():
        return recipes()[name]
    raise SpecError(f"extends: no recipe or file {name!r}", where=where, hint=nearest(name, list(recipes())))


def gather(path: Path, seen: tuple[Path, ...] = ()) -> Source:
    """The values of `path` over those it extends, parents first."""
    if path.resolve() in seen:
        raise SpecError(f"extends goes in a circle: {' -> '.join(p.name for p in (*seen, path))}", where=str(path))
    source = read_yaml(path)
    parent = source.values.pop("extends", None)
    if parent is None:
        return source
    if not isinstance(parent, str):
        raise SpecError(f"extends: expected the name of a recipe or file, found {parent!r}", where=source.place(("extends",)))
    below = gather(_parent(parent, path, source.place(("extends",))), (*seen, path.resolve()))
    return merge(below, source)


def override(source: Source, texts: Sequence[str]) -> Source:
    """Command-line overrides `key.sub=value` (value is YAML; list items by number, e.g. train.0.learning_rate=1e-4)."""
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise SpecError(f"override {text!r}: expected key.sub=value", where="command line")
        key: Key = tuple(int(p) if p.isdigit() else p for p in name.strip().split("."))
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
    values[last] = value


def load(path: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """The validated spec of a file. Raises SpecError with every problem, each with its place."""
    source = override(gather(Path(path)), overrides)
    spec = build(source)
    for round_ in range(spec.rounds):
        at(spec, round_)
    return spec


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


def stage_rounds(text: Any) -> range:
    """'0-1' -> 0, 1; '2-' -> 2 and later; '3' -> 3. SpecError for anything else."""
    match = re.fullmatch(r"(\d+)(-(\d*))?", str(text).strip())
    if not match:
        raise SpecError(f"stages: rounds {text!r}: expected '0-1', '2-' or '3'")
    first, last = int(match[1]), int(match[3]) if match[3] else (1 << 31 if match[2] else int(match[1]))
    return range(first, last + 1)


@lru_cache(maxsize=256)
def _staged(text: str, round_: int) -> Spec:
    spec = Spec.model_validate_json(text)
    source = Source(spec.model_dump(mode="json", exclude={"stages"}))
    for index, stage in enumerate(spec.stages):
        if "rounds" not in stage:
            raise SpecError("stages: each stage needs `rounds`", where=f"stages.{index}")
        if round_ in stage_rounds(stage["rounds"]):
            change = Source({k: v for k, v in stage.items() if k != "rounds"}, {(k,): f"stages.{index}" for k in stage})
            source = merge(source, change)
    return build(source)


def at(spec: Spec, round_: int) -> Spec:
    """The spec of one round: its stages merged over the rest."""
    return _staged(spec.model_dump_json(), round_) if spec.stages else spec
