"""Models with a head that gives numbers instead of words (sequence classification): settings of who uses one.

What needs torch stands in `classifier` and `dropout`, and is loaded when a step runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from engine import models
from engine.errors import SpecError
from engine.params import Params
from engine.score import forced
from engine.spec import Spec, Train


class Shown(Params):
    """How a model with a head sees an answer."""

    max_length: int = Field(4096, gt=0, description="a longer row (prompt and answer, in tokens) gets no number; it is never cut")
    chat: bool | None = Field(None, description="whether its own chat template shows prompt and answer; none: where it has one")
    template: str | None = Field(
        None, description="instead of a chat template: a text with {prompt} and {response}; none: the prompt's messages, then the answer"
    )

    @field_validator("template")
    @classmethod
    def _names(cls, text: str | None) -> str | None:
        return lacking(text, ("prompt", "response"))

    @model_validator(mode="after")
    def _one(self) -> Shown:
        if self.chat and self.template is not None:
            raise ValueError("template: with chat: true the model's own template shows the answer; give one of the two")
        return self


class Dropout(Params):
    """Passes with dropout: how many, and where."""

    passes: int = Field(0, ge=0, description="passes with dropout over each row; 0: one without (UPO: 10)")
    dropout: float | None = Field(None, gt=0, lt=1, description="dropout rate; none: that of the model's own dropout layers")
    sites: Literal["own", "linear", "head"] = Field(
        "own", description="own: the model's dropout layers; linear: the inputs of all linear layers; head: that of the last one"
    )

    @model_validator(mode="after")
    def _placed(self) -> Dropout:
        if self.sites != "own" and self.dropout is None:
            raise ValueError(f"sites: {self.sites} needs a `dropout` rate, such as 0.1")
        if self.passes == 1:
            raise ValueError("passes: one pass cannot disagree with itself; expected 0 or at least 2")
        return self


def lacking(text: str | None, names: tuple[str, ...]) -> str | None:
    """The text; ValueError where it lacks one of {names}."""
    lost = [name for name in names if text is not None and f"{{{name}}}" not in text]
    if lost:
        raise ValueError(f"the text lacks {' and '.join(f'{{{name}}}' for name in lost)}")
    return text


def settings(
    spec: Spec, model: str, spec_path: Path, outputs: tuple[int, ...], field: str, how: Any, compares: bool = False
) -> dict[str, Any]:
    """What a reading depends on beside its params: code that may run, and a folder's digest.

    SpecError where the head of a folder's or a role's model has a number of outputs that is not one of `outputs` (none: any), or where
    a role trains on texts that are shown otherwise than here: `how` has their chat and template, `compares` says that they show two
    answers each.
    """
    found = forced.Named(model).settings(spec, spec_path, head=True)
    if model not in forced.NAMED:
        role = forced.role_of(spec, model)
        folders = [model] if role is None else [role.first] if model != role.role and role.first else []
        widths = {name: _width(spec_path.parent / Path(name).expanduser()) for name in folders}
        if role:
            widths[model] = _trained(role, how, compares, spec_path)
        for name, width in widths.items():
            if outputs and width not in outputs:
                expected = " or ".join(map(str, outputs))
                raise SpecError(
                    f"{field}: the head of {name!r} has {width} outputs, expected {expected}",
                    where=str(spec_path),
                    hint="`id2label` in its config.json says how many; name each with `heads`, or give another folder",
                )
    return found | {"trust_remote_code": spec.models.trust_remote_code}


def _width(folder: Path) -> int:
    models.check(folder)
    return labels(folder)


def _trained(role: Train, how: Any, compares: bool, spec_path: Path) -> int:
    """How many outputs a role's head has. SpecError where it learns from other texts than it is to read."""
    from engine.train import objective
    from engine.train.heads import HeadObjective

    method = objective(role)
    assert isinstance(method, HeadObjective)
    if method.pairwise != compares:
        texts = ("one answer at a time", "two answers at once")
        raise SpecError(
            f"the role {role.role} reads {texts[method.pairwise]} (objective {role.objective}), and is to read {texts[compares]}",
            where=str(spec_path),
            hint="the comparer preference_model reads two answers at once, measures one",
        )
    own = method.params
    if (own.chat, own.template) != (how.chat, how.template):
        raise SpecError(
            f"the role {role.role} trains with chat {own.chat} and template {own.template!r}, "
            f"and is to be read with chat {how.chat} and template {how.template!r}",
            where=str(spec_path),
            hint="give both the same, or leave both out",
        )
    return len(method.outputs)


def labels(folder: Path) -> int:
    """How many outputs the head has, as config.json says it; transformers writes no `id2label` where there are two."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return len(config["id2label"]) if config.get("id2label") else int(config.get("num_labels") or 2)
