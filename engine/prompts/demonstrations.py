"""Worked examples that a small base model is pre-trained on, as rows of the selected table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine import datafiles
from engine.errors import DataError
from engine.ids import digest, prompt_id
from engine.prompts.build import Builder
from engine.prompts.splits import unique
from engine.registry import nearest
from engine.spec import Base, Prompts
from engine.step import BASE

GOLD = "gold"


def demonstrations(base: Base, prompts: Prompts, folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Rows of `selected` with their place in `source`, and how many doubles were left out.

    A row is the prompt of the spec's fields as context (weight 0) and column `base.response` as the answer (weight 1).
    Raises DataError naming file and line.
    """
    table, builder = datafiles.read(base.data, folder), Builder(prompts.fields)
    rows = []
    for index, row in enumerate(table.rows):
        place = table.place(index)
        if base.response not in row:
            raise DataError(
                f"{base.response}: the row has no such column",
                where=place,
                hint=f"{nearest(base.response, list(row))} (base.response names it)",
            )
        response = row[base.response]
        if not isinstance(response, str) or not response.strip():
            raise DataError(f"{base.response}: expected the text of an answer, found {response!r}", where=place)
        messages = builder.messages(row, table, index)
        asked = prompt_id(messages)
        context = [{**message, "origin": GOLD, "weight": 0.0} for message in messages]
        rows.append(
            {
                "row_id": digest(asked, response, GOLD),
                "prompt_id": asked,
                "messages": [*context, {"role": "assistant", "content": response, "origin": GOLD, "weight": 1.0}],
                "weight": 1.0,
                "origin": GOLD,
                "source_round": BASE,
                "reason": "base.data",
                "source": place,
            }
        )
    return unique(rows, "row_id", "worked example", prompts.duplicates)
