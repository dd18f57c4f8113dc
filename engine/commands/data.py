"""Commands that carry rows out and in: export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.commands import HomeOption, JsonOption, emit, home_of, say

Of = Annotated[str, typer.Argument(metavar="EXPERIMENT[/ROUND]", help="Whose rows; without a round those of the latest that has any.")]
Out = Annotated[Path, typer.Option("--out", metavar="PATH", help="A new file, or a new folder for trl.")]
Format = Annotated[str, typer.Option("--format", help="trl (a folder for `datasets.load_from_disk`), parquet or jsonl.")]
Kind = Annotated[str | None, typer.Option("--kind", help="trl: preference, unpaired or prompt-completion; none: as the table has it.")]


def export(
    experiment: Of,
    out: Out,
    table: Annotated[str, typer.Option(help="pairs or selected.")] = "pairs",
    format: Format = "parquet",
    kind: Kind = None,
    plain: Annotated[bool, typer.Option("--plain", help="trl: text in the place of messages.")] = False,
    role: Annotated[str, typer.Option(help="The model that the rows train.")] = "policy",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Write the rows that train in a round for other tools.

    parquet and jsonl have every column; trl is a Hugging Face data set of one of TRL's types.
    """
    from engine.report import exported

    found = exported.export(experiment, home_of(home), exported.Wanted(table, role, format, kind, plain), out)
    if json:
        emit(found)
        return
    say(f"{found['rows']:,} rows of {table} ({found['part']}) of {found['experiment']}/{found['round']}")
    say(f"wrote {found['written']:,} rows: {found['path']}")


def import_(
    source: Annotated[str, typer.Argument(metavar="FILE|FOLDER", help="A preference data set: JSONL, CSV, Parquet or `save_to_disk`.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The new Parquet file.")],
    json: JsonOption = False,
) -> None:
    """Make prompts that carry their pairs of a preference data set.

    Use it as prompts.train with fields: {messages: messages}, and pairs/given.sql for the pairs.
    """
    from engine.pairs.convert import prompts

    made = prompts.write(source, out, Path.cwd())
    if json:
        emit({"path": made.path, "rows": made.rows, "prompts": made.prompts})
        return
    say(f"wrote {made.path}: {made.rows:,} rows, {made.prompts:,} prompts")
    if made.repeated:
        say(f"{made.repeated:,} rows ask an earlier row's prompt: `prompts: {{duplicates: first}}` keeps the first, otherwise a run stops")
    say(f"next: prompts: {{train: {made.path.name}, fields: {{messages: messages}}}} and pairs: {{sql: pairs/given.sql}}")
