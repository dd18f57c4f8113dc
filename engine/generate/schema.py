"""JSON Schemas that answers must fit, as backends with constrained decoding take them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from engine.errors import DataError, SpecError
from engine.score.json_schema import checker


def read(given: dict[str, Any] | str, spec_path: Path) -> dict[str, Any]:
    """A schema that stands in a spec as `params.json_schema`, or in the JSON file that it names (relative to the spec).

    DataError for a file that cannot be read, SpecError for what is no JSON Schema (draft 2020-12 unless it names another).
    """
    place, found = str(spec_path), given
    if isinstance(given, str):
        place = str((spec_path.parent / os.path.expanduser(given)).absolute())
        try:
            found = json.loads(Path(place).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            hint = "params.json_schema takes a JSON Schema, or a file with one"
            raise DataError(f"cannot read the JSON Schema: {error}", where=place, hint=hint) from error
    if not isinstance(found, dict):
        raise SpecError(f"params.json_schema: expected an object, found {str(found)!r:.60}", where=place)
    try:
        checker(json.dumps(found))
    except ValueError as error:
        raise SpecError(f"params.json_schema: {error}", where=place, hint="see json-schema.org") from error
    return found
