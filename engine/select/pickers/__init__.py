"""Pickers: operators that choose among candidates where SQL cannot say how. A new one is one file here.

A picker gets the candidates that a SQL file gives (item_id, prompt_id and the columns of `needs`) and gives each a number,
most often the position at which it was picked, null where it was not. The number is a column of `scored` (and a row of
`scores`), which the selection's SQL then uses: `WHERE mig IS NOT NULL`, `rank <= ...`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from engine.params import Params, validated
from engine.registry import Registry
from engine.spec import Picker as Entry


class Picker(ABC):
    """Picks among candidates. `revision` rises when its numbers change for equal inputs.

    `needs`: the columns that the candidates must have, with their kind: number, text, texts (a list) or vector.
    """

    revision: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {}
    Params: ClassVar[type[Params]] = Params
    spec_path: Path = Path("spec.yaml")  # files that settings name are beside it; the step sets it before `pick`

    def __init__(self, params: Any) -> None:
        self.params = params

    def settings(self, spec_path: Path) -> dict[str, Any]:
        """JSON for the fingerprint: its settings, with digests of the files that they name."""
        return self.params.model_dump(mode="json")

    def check(self, spec_path: Path) -> None:  # noqa: B027 - most have nothing more to check
        """Raises what can be found wrong with its own settings, and the files that they name, before any work."""

    @abstractmethod
    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        """item_id, value (null: not picked) and perhaps detail, a row for each candidate.

        `rows` come in order of item_id; `keys` (uint64, one a row) start the rows' streams of draws: `uniforms(keys, draw)`.
        """


pickers: Registry[type[Picker]] = Registry("select.pickers")


def split(entry: Entry) -> tuple[Picker, dict[str, Any]]:
    """The picker of an entry, and the parameters that are left for its SQL. SpecError for settings that it cannot use."""
    method = pickers.load(entry.method)
    own = {name: value for name, value in entry.params.items() if name in method.Params.model_fields}
    made = method(validated(method.Params, own, f"select.pickers ({entry.column}): params", f"the picker {entry.method!r}"))
    return made, {name: value for name, value in entry.params.items() if name not in own}
