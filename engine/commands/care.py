"""Commands around the loop: ui, gc."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.commands import HomeOption, JsonOption, emit, home_of, out


def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 3000, home: HomeOption = None) -> None:
    """Start the Dagster UI, until Ctrl-C."""
    from assets.ui import start

    raise typer.Exit(start(home_of(home), port=port))


def gc(
    older_than: Annotated[float, typer.Option("--older-than", metavar="HOURS", help="Keep what was used in the last hours.", min=0)] = 168,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Free disk of what nothing names any more.

    Old table versions that no checkpoint names, checkpoint folders without a row, journals of steps long left.
    """
    from engine.gc import collect
    from engine.lake import Lake
    from engine.report import text

    place = home_of(home)
    report = collect(place, Lake(place.lake), older_than, dry_run)
    emit(report.as_json()) if json else text.garbage(out(), report)
