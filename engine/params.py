"""Settings of a method's own (a backend, a scorer, a picker, ...): declared by the method, validated with the spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.errors import SpecError
from engine.registry import nearest


class Params(BaseModel):
    """Base of a method's own settings; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


P = TypeVar("P", bound=BaseModel)


def validated(model: type[P], values: Mapping[str, Any], field: str, who: str) -> P:
    """The settings of `who` (such as "the picker 'mig'"), which stand in the spec at `field`; SpecError with every problem."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False):
            key = ".".join([field, *(str(part) for part in problem["loc"])])
            if problem["type"] == "extra_forbidden":
                close = nearest(str(problem["loc"][-1]), list(model.model_fields)) if model.model_fields else "it has none"
                lines.append(f"{key}: {who} has no such setting; {close}")
            elif problem["type"] == "missing":
                lines.append(f"{key}: {who} needs this setting")
            else:
                lines.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}, found {problem['input']!r}")
        raise SpecError("\n".join(lines), hint=f"settings of {who}: {', '.join(model.model_fields) or 'none'}") from error
