"""`rondo`: the command line. The commands lie in engine/commands; their heavy imports happen only when they run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from engine import __version__
from engine.commands import HomeOption, ask, audit, bench, care, data, loop, setup
from engine.disk import HINT, refused
from engine.errors import RondoError

chosen_home: Path | None = None


class Commands(TyperGroup):
    """Turns expected failures into one message and an exit code: 2 input, 3 stopped, 4 locked, 130 interrupted, else 1."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; only RondoErrors, a disk that refuses a file, and Ctrl-C are caught."""
        try:
            return super().invoke(ctx)
        except RondoError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(error.code) from error
        except OSError as error:
            text = refused(error)
            if text is None:
                raise
            print(f"{text}\n  next: {HINT}", file=sys.stderr)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="rondo",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Iterative post-training as data: one YAML runs rounds that are versioned, resumable, gated and queryable.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong input, 3 stopped at the gate, 4 driven by another process, 130 interrupted.",
)


def _version(asked: bool) -> None:
    if asked:
        print(f"rondo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    home: HomeOption = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False,
) -> None:
    global chosen_home
    chosen_home = home


COMMANDS = (
    setup.init,
    setup.validate,
    loop.plan,
    loop.run,
    loop.status,
    ask.sql,
    ask.diff,
    ask.lineage,
    ask.plot,
    audit.audit,
    data.export,
    loop.promote,
    loop.rollback,
    loop.fork,
    setup.recipes,
    setup.methods,
    setup.spec,
    care.ui,
    care.gc,
    setup.env,
)
for command in COMMANDS:
    app.command()(command)
app.command("import")(data.import_)
app.add_typer(bench.app, name="bench")


def main() -> None:
    """The console script."""
    app(prog_name="rondo")


if __name__ == "__main__":
    main()
