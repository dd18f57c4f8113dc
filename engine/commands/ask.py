"""Commands that ask: sql, lineage, diff, plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.commands import HomeOption, JsonOption, emit, home_of, out, say

At = Annotated[str | None, typer.Option("--at", metavar="EXPERIMENT/ROUND", help="Tables as they were when this checkpoint trained.")]
Export = Annotated[Path | None, typer.Option("--export", metavar="FILE", help="Write the views as a script for DuckDB (-: print it).")]
Of = Annotated[str | None, typer.Option("-e", "--experiment", metavar="EXPERIMENT[/ROUND]", help="Open its bare names and `history`.")]


def sql(
    query: Annotated[str | None, typer.Argument(help="A SELECT, or @NAME of a shipped query.")] = None,
    file: Annotated[str | None, typer.Option("-f", "--file", metavar="FILE", help="A SQL file, or a shipped query's name.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the shipped queries with their parameters.")] = False,
    experiment: Of = None,
    at: At = None,
    param: Annotated[list[str] | None, typer.Option("-p", "--param", metavar="KEY=VALUE", help="Value of $KEY; may be repeated.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    limit: Annotated[int, typer.Option(help="Rows of the table to print; 0: all. CSV and JSON always have all.")] = 100,
    export: Export = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Ask in SQL over all rounds.

    `lake.<table>` is everything; with -e also bare names (one round) and `history.<table>` (the rounds before it).
    """
    from engine.report import ask

    if listed:
        _list(query or file, json)
        return
    place = home_of(home)
    if export is not None:
        text = ask.script(place)
        if str(export) == "-":
            say(text)
        else:
            ask.write(export, text)
            say(f"wrote {export}; in any DuckDB client: .read {export}")
        return
    relation = ask.answer(place, query, file, experiment, at, param or [])
    if json:
        ask.print_json(relation)
    elif csv:
        ask.print_csv(relation)
    else:
        ask.print_table(relation, out(), limit)


def _list(name: str | None, json: bool) -> None:
    """The shipped queries, or one of them, with what each of their parameters means."""
    from engine.report import queries

    rows = queries.catalogue()
    if name is not None:
        rows = [row for row in rows if row["name"] == queries.find(name).stem]
    if json:
        emit(rows)
        return
    for row in rows:
        say(f"@{row['name']}  {row['description']}")
        for one in row["parameters"]:
            say(f"    {queries.Parameter(**one)}")
    say("run one with `rondo sql @NAME -p KEY=VALUE`, perhaps -e EXPERIMENT, which gives $experiment")


def lineage(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Digest, the start of one, or EXPERIMENT@ROUND.")],
    limit: Annotated[int, typer.Option(help="Rows to print.", min=0)] = 10,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show what trained a checkpoint.

    Each row with its score, the policy that wrote it, and its prompt.
    """
    from engine.report import text
    from engine.report.lineage import lineage as make

    report = make(checkpoint, home_of(home), limit)
    emit(report.as_json()) if json else text.lineage(out(), report)


def diff(
    left: Annotated[str, typer.Argument(metavar="A", help="EXPERIMENT or EXPERIMENT/ROUND")],
    right: Annotated[str, typer.Argument(metavar="B", help="EXPERIMENT or EXPERIMENT/ROUND")],
    topics: Annotated[bool, typer.Option("--topics", help="Also every topic's metrics.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two rounds or experiments.

    Settings, rows, and metrics with their standard errors.
    """
    from engine.report import text
    from engine.report.diff import diff as make

    report = make(left, right, home_of(home), topics)
    emit(report.as_json()) if json else text.diff(out(), report)


def plot(
    experiments: Annotated[list[str], typer.Argument(metavar="EXPERIMENT...", help="A line each.")],
    metric: Annotated[list[str] | None, typer.Option("--metric", help="A number of the training log; may be repeated. None: loss.")] = None,
    picture: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="svg, png, pdf or html; none: EXPERIMENT.svg.")] = None,
    role: Annotated[str, typer.Option(help="The model that trains.")] = "policy",
    home: HomeOption = None,
) -> None:
    """Draw the training log: numbers over the steps of all rounds.

    loss, grad_norm, learning_rate, and what the objective logs, such as rewards/margins or kl.
    """
    from engine.report import plot as report

    metrics, path = metric or ["loss"], picture or Path(f"{experiments[0]}.svg")
    shown = report.save(experiments, metrics, path, home_of(home), role)
    say(f"wrote {path}: {shown:,} entries of the training log, {', '.join(metrics)} of {role}")
