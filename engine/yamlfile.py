"""Reads a YAML file of settings, with the line of every key, and says where it is not one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engine.errors import SpecError

Key = tuple[str | int, ...]
MOST = 20_000  # keys and items of a spec; aliases of aliases can make billions


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
    text = _text(path)
    places: dict[Key, str] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise SpecError("expected a mapping of settings, found " + ("nothing" if node is None else node.tag), where=str(path))
        _mark(node, (), path, places)
        values = yaml.SafeLoader("").construct_document(node)
    except yaml.YAMLError as error:
        raise _not_yaml(error, path, text) from error
    except RecursionError as error:
        raise SpecError("nested too deep, or an alias that holds itself", where=str(path)) from error
    return Source(values, places)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot read the spec: {error}", where=str(path)) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(f"not UTF-8: byte 0x{data[error.start]:02x}", where=f"{path}:{line}", hint="save the file as UTF-8") from error


def _not_yaml(error: yaml.YAMLError, path: Path, text: str) -> SpecError:
    """The line and, in one line, what the reader expected and found."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return SpecError(f"not YAML: character #x{error.character:04x}: {error.reason}", where=f"{path}:{line}")
    if not isinstance(error, yaml.MarkedYAMLError):
        return SpecError(f"not YAML: {error}", where=str(path))
    mark = error.problem_mark or error.context_mark
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return SpecError(f"not YAML: {said}", where=f"{path}:{mark.line + 1}" if mark else str(path))


def _mark(node: yaml.Node, key: Key, path: Path, places: dict[Key, str]) -> None:
    places.setdefault(key, f"{path}:{node.start_mark.line + 1}")
    if len(places) > MOST:
        raise SpecError(f"more than {MOST:,} settings", where=str(path), hint="an alias (*name) may hold too many others")
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            place = f"{path}:{name.start_mark.line + 1}"
            if name.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                found = name.value if isinstance(name, yaml.ScalarNode) else name.tag
                raise SpecError(f"expected text as a key, found {found!r}", where=place, hint="put quotes around it if it is meant as text")
            inner = (*key, name.value)
            if inner in places:
                raise SpecError(f"key {name.value!r} stands twice", where=place)
            places[inner] = place
            _mark(value, inner, path, places)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _mark(value, (*key, index), path, places)
