"""The command of people who check the scorers: audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands import HomeOption, JsonOption, emit, home_of, out, say

if TYPE_CHECKING:
    from engine.report.audit import Drawn
    from engine.report.labels import Read

Of = Annotated[str, typer.Argument(metavar="EXPERIMENT[/ROUND]", help="Whose answers; without a round those of the latest.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the drawn answers here, to label; never an existing file.")]
Labels = Annotated[Path | None, typer.Option("--read", metavar="FILE", help="Store the labels of such a file.")]


def audit(
    experiment: Of,
    out: Out = None,
    read: Labels = None,
    scorer: Annotated[str | None, typer.Option(help="Whose verdicts are in doubt; none: the combined score's.")] = None,
    n: Annotated[int, typer.Option("--n", help="Answers to draw.", min=1)] = 50,
    rule: Annotated[str, typer.Option(help="doubtful (by strata), random, or disagreement (between scorers).")] = "doubtful",
    part: Annotated[str, typer.Option(help="rollout, or eval for held-out answers.")] = "rollout",
    bar: Annotated[float, typer.Option(help="A scorer without verdicts approves from this number on.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Of the draw; none: the spec's. Another one draws other answers.")] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Check the scorers by hand: draw answers to label, and read the labels.

    Fill the column `human` of the CSV with right, wrong or a number (empty: not labelled); then --read it, and ask
    `rondo sql @false_negatives`.
    """
    from engine.errors import SpecError
    from engine.report import known

    if (out is None) == (read is None):
        raise SpecError("give --out FILE to draw answers, or --read FILE to store labels", where="command line")
    name, round_ = known.split(experiment)
    found = known.load(name, home_of(home), recorded=True)
    if read is not None:
        from engine.report import labels

        stored = labels.read(found, read)
        emit(stored.as_json()) if json else _read(stored)
        return
    assert out is not None
    from engine.report.audit import Ask, Audit

    drawn = Audit(found, Ask(part, scorer, n, rule, bar, seed, round_)).write(out)
    emit(drawn.as_json()) if json else _drawn(drawn)


def _drawn(drawn: Drawn) -> None:
    from engine.report.grid import show

    rows = [(one.name, one.answers, one.drawn, one.weight if one.drawn else None, one.what) for one in drawn.strata]
    show(out(), ("stratum", "answers", "drawn", "weight", "what it is"), rows, wide=0)
    say(f"wrote {drawn.path}: {drawn.rows} answers, doubted by what `{drawn.scorer}` says of them")
    say(f"next: fill the column human (right, wrong or a number), then rondo audit {drawn.experiment} --read {drawn.path}")


def _read(read: Read) -> None:
    from engine.experiment import key

    say(f"{read.path}: {read.right} right, {read.wrong} wrong, {read.numbers} numbers, {read.unlabelled} rows without a label")
    for one in read.stored:
        say(
            f"{read.experiment}/{key(one.round)} {one.answers_of}: {one.added} new, {one.replaced} in place of earlier ones, "
            f"{one.unchanged} known; {one.labels} labels now"
        )
    say(f"next: rondo sql @false_negatives -e {read.experiment}")
