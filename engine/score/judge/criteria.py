"""Criteria and principles: names and texts that a prompt with {criterion} is asked about, one at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import DataError, SpecError
from engine.score.judge import Voting
from engine.score.judge.prompt import Prompt
from engine.yamlfile import read_yaml


def load(params: Voting, prompt: Prompt, spec_path: Path) -> dict[str, str]:
    """The criteria that hold for all prompts, by name; none where each prompt has its own.

    SpecError for a file that holds none, and for criteria without a prompt that asks about them or the other way round.
    """
    given = bool(params.criteria or params.criteria_file or params.criteria_field)
    if given != ("criterion" in prompt.names):
        asks = "the prompt asks about a {criterion}, and there are none" if not given else "the prompt has no {criterion} to fill"
        hint = "give criteria, criteria_file or criteria_field" if not given else "take the prompt `rubric` or `principle`"
        raise SpecError(f"judge: criteria: {asks}", where=params.prompt, hint=hint)
    if params.criteria_file is None:
        return dict(params.criteria)
    path = (spec_path.parent / Path(params.criteria_file).expanduser()).absolute()
    if not path.is_file():
        raise SpecError("judge: criteria_file: no such file", where=str(path), hint="a path relative to the spec")
    found = read_yaml(path).values
    if not found or not all(isinstance(text, str) and text.strip() for text in found.values()):
        raise SpecError("judge: criteria_file: expected `name: text`, one for each criterion", where=str(path))
    return found


def own(field: str, meta: str | None, prompt_id: str) -> dict[str, str]:
    """A prompt's own criteria, from a key of prompts.meta: a text, a list of texts, or names with texts. DataError where it has none."""
    found: Any = (json.loads(meta) if meta else {}).get(field)
    if isinstance(found, str):
        found = [found]
    if isinstance(found, list):
        found = {str(number): text for number, text in enumerate(found, 1)}
    if not isinstance(found, Mapping) or not found or not all(isinstance(text, str) and text.strip() for text in found.values()):
        raise DataError(
            f"judge: prompts.meta has no criteria at {field!r}: expected a text, a list of texts or names with texts, found {found!r}",
            where=f"prompt {prompt_id}",
            hint="put them into the data file's column of that name, or give `criteria` in the spec",
        )
    return dict(found)
