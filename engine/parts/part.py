"""What every part of a spec is made of: fields with a line of description, names that are checked, no unknown keys."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from annotated_types import Gt, Len
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def _slug(name: str) -> str:
    if not SLUG.fullmatch(name):
        raise ValueError("a name has 1-63 of a-z, 0-9, '-' and '_', and starts with a letter or digit")
    return name


def _scorer(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or name in ("score", "human"):
        raise ValueError("a scorer name has 1-63 of a-z, 0-9 and '_', starts with a letter, and is not 'score' or 'human'")
    return name


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("expected auto, cpu, cuda or cuda:N")
    return name


def _memory(size: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)? ?([KMGT]i?B|B)", size, re.IGNORECASE) or not float(re.sub(r"[^\d.]", "", size)):
        raise ValueError("expected a size with its unit, such as 1.5GB, 800MB or 4GiB")
    return size


Slug = Annotated[str, AfterValidator(_slug)]
ScorerName = Annotated[str, AfterValidator(_scorer)]
Device = Annotated[str, AfterValidator(_device)]
Memory = Annotated[str, AfterValidator(_memory)]
Batch = Annotated[int, Gt(0)] | Literal["auto"]
Paths = str | Annotated[list[str], Len(min_length=1)]


def F(default: Any, doc: str, unit: str = "", **limits: Any) -> Any:  # noqa: N802 - reads as the Field it makes
    """A field with its default (... where there is none), its one-line description, its unit and its limits."""
    return Field(default, description=doc, json_schema_extra={"unit": unit}, **limits)


class Part(BaseModel):
    """Base of every part of a spec: unknown keys are errors, values are not changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
