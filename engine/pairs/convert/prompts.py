"""A preference data set as prompts that carry their pairs: columns messages, chosen and rejected, for `prompts` and pairs/given.sql.

In the spec: `prompts: {train: pairs.parquet, fields: {messages: messages}}`; what `fields` does not name stays in prompts.meta.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from engine import datafiles
from engine.errors import DataError
from engine.ids import prompt_id
from engine.pairs.convert import Row, preference, refused
from engine.pairs.convert.files import write_parquet

OWN = ("prompt", "messages", "chosen", "rejected")
CHAT = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


@dataclass(frozen=True)
class Imported:
    """What an import wrote. `repeated`: rows whose prompt an earlier row has too."""

    path: Path
    rows: int
    prompts: int

    @property
    def repeated(self) -> int:
        return self.rows - self.prompts


def prompts(rows: datafiles.Rows) -> pa.Table:
    """A row for each row of a preference data set: messages, chosen and rejected as messages, and all its other columns. DataError names
    file and line."""
    made = [_one(row, rows.place(i)) for i, row in enumerate(rows.rows)]
    others = [name for name in rows.columns if name not in OWN]
    try:
        more = {name: pa.array([row.get(name) for row in rows.rows]) for name in others}
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"a column holds values of several types: {error}", hint=f"columns: {', '.join(others)}") from error
    own = {name: pa.array([row[name] for row in made], CHAT) for name in ("messages", "chosen", "rejected")}
    return pa.table(own | more)


def write(source: str, out: Path, base: Path) -> Imported:
    """Reads a file or a folder with a data set (relative to `base`) and writes the prompts as Parquet."""
    table = prompts(datafiles.read(source, base))
    counts = Counter(prompt_id(messages) for messages in table["messages"].to_pylist())
    write_parquet(table, out)
    return Imported(out, table.num_rows, len(counts))


def _one(row: Row, where: str) -> Row:
    given = {name: value for name, value in row.items() if value is not None}
    asked, chosen, rejected = preference.read(given, where)
    if asked[-1]["role"] == "assistant":
        raise refused("the prompt ends with an assistant's message", where, "the policy answers a user (or a tool)")
    return {"messages": asked, "chosen": chosen, "rejected": rejected}
