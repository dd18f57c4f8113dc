"""Every field of a spec: name, type, default, unit and description, from the pydantic models."""

from __future__ import annotations

import types
import typing
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.spec import Spec


@dataclass(frozen=True)
class Setting:
    """One field. `default` is '(required)' where there is none; a list's items stand below `name[]`."""

    name: str
    type: str
    default: str
    unit: str
    description: str

    def as_json(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


def settings(model: type[BaseModel] = Spec, above: str = "") -> list[Setting]:
    """All fields of a spec in order, those of its parts after each part."""
    found = [] if above else [Setting("extends", "str", "(none)", "", "recipe or YAML file that this one builds on")]
    for name, field in model.model_fields.items():
        inner = _part(field.annotation)
        many = inner is not None and typing.get_origin(field.annotation) is tuple
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        found.append(Setting(above + name, _type(field), _default(field), str(extra.get("unit", "")), field.description or ""))
        if inner is not None:
            found += settings(inner, f"{above}{name}{'[]' if many else ''}.")
    return found


def _part(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in typing.get_args(annotation) if (found := _part(inner))), None)


def _type(field: FieldInfo) -> str:
    limits = [f"{sign} {getattr(m, key)}" for m in field.metadata for key, sign in _SIGNS.items() if getattr(m, key, None) is not None]
    return _plain(field.annotation) + (f" ({', '.join(limits)})" if limits else "")


_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "min_length": "at least"}


def _plain(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " | ".join(str(value) for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys("none" if one is type(None) else _plain(one) for one in inner))
    if origin in (tuple, list):
        return f"list of {_plain(inner[0])}" if origin is list or Ellipsis in inner else f"[{', '.join(_plain(i) for i in inner)}]"
    if origin is dict:
        return "mapping"
    if hasattr(annotation, "__metadata__"):
        return _plain(inner[0])
    name = getattr(annotation, "__name__", str(annotation))
    return {"str": "text", "float": "number", "int": "integer", "bool": "true | false", "Any": "any"}.get(name, name)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.default
    if isinstance(value, BaseModel):
        return ""
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(list(value)) if isinstance(value, tuple) else str(value) if value != "" else "''"
