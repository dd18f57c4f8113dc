"""Runs metrics over `answers` in DuckDB and averages them over prompts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa

from engine import macros
from engine.errors import QueryError
from engine.evaluate import parse

Summary = tuple[float | None, float | None, int]


class Metrics:
    """The answers of one checkpoint to held-out prompts; metrics by name."""

    def __init__(self, answers: pa.Table, spec_path: Path | None = None) -> None:
        self.spec_path = spec_path
        self.prompts = set(answers["prompt_id"].to_pylist())
        self._connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        self._connection.register("answers", answers)
        self._macros: set[str] = set()

    def values(self, name: str) -> dict[str, float | None]:
        """A value for each prompt. QueryError where the SQL fails, or does not give exactly one number a prompt."""
        file, given = parse(name, self.spec_path)
        where = f"{file.path}: metric {name}"
        try:
            params = file.bind(given)
            macros.make(self._connection, [file.text], self._macros)
            relation = self._connection.sql(file.query(), params=params) if params else self._connection.sql(file.query())
            rows = relation.to_arrow_table()
        except duckdb.Error as error:
            message = str(error).removeprefix("Invalid Input Error: ")
            raise QueryError(message, where=where) from error
        if sorted(rows.column_names) != ["prompt_id", "value"]:
            raise QueryError(f"expected the columns prompt_id and value, found {rows.column_names}", where=where)
        try:
            numbers = rows["value"].cast(pa.float64()).to_pylist()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise QueryError(f"column value: expected numbers, found {rows['value'].type}", where=where) from error
        prompts = rows["prompt_id"].to_pylist()
        found = dict(zip(prompts, numbers, strict=True))
        if len(found) < len(prompts) or set(found) != self.prompts:
            extra = [prompt for prompt in prompts if prompt not in self.prompts or prompts.count(prompt) > 1]
            odd = (extra or sorted(self.prompts - set(found)))[0]
            text = f"expected one row for each of {len(self.prompts)} prompts, found {len(prompts)}; see prompt {odd!r}"
            raise QueryError(text, where=where)
        bad = next((p for p, v in found.items() if v is not None and not math.isfinite(v)), None)
        if bad is not None:
            raise QueryError(f"prompt {bad!r} has the value {found[bad]}", where=where, hint="give a finite number or null")
        return found


def summary(values: Iterable[float | None]) -> Summary:
    """Mean, its standard error (sample deviation / sqrt(n); null below two prompts) and n, over prompts with a value.

    Sums are exact (math.fsum), so the order of prompts cannot change a bit.
    """
    known = [value for value in values if value is not None]
    n = len(known)
    if not n:
        return None, None, 0
    mean = math.fsum(known) / n
    if n < 2:
        return mean, None, n
    variance = math.fsum((value - mean) ** 2 for value in known) / (n - 1)
    return mean, math.sqrt(variance / n), n
