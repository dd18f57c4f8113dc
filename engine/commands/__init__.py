"""The commands of `rondo`, a file a group. Thin: each parses, calls the engine, and prints a report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from engine.home import Home

HomeOption = Annotated[Path | None, typer.Option("--home", help="Folder of what a run makes.", show_default="RONDO_HOME or ./rondo-home")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the decision.")]


def home_of(given: Path | None) -> Home:
    """The home of a command; `rondo --home X COMMAND` and `rondo COMMAND --home X` mean the same."""
    from engine import cli

    return Home.find(given or cli.chosen_home)


def out() -> Console:
    """Standard output, as it is now; off a terminal as wide as what it prints."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 100_000)


def say(text: str = "", style: str | None = None) -> None:
    """One line, never read as markup and never folded."""
    out().print(text, style=style, markup=False, soft_wrap=True)


def emit(value: Any) -> None:
    """JSON on standard output."""
    from engine.report.grid import dumps

    sys.stdout.write(dumps(value) + "\n")
