"""The commands that measure this machine: bench generate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands import HomeOption, emit, home_of, out

if TYPE_CHECKING:
    from engine.generate.bench.run import Plan

app = typer.Typer(help="Measure this machine, and say which settings to take.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Name in the home, or path of a YAML.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY.SUB=VALUE]...", help="Settings that replace those of the YAML.")]
Backends = Annotated[list[str] | None, typer.Option("--backend", help="May be repeated; none: the spec's, transformers, vllm.")]
Batch = Annotated[str | None, typer.Option("--batch", metavar="N,N,...", help="Answers in flight; none: 32,128,512.")]
Concurrency = Annotated[str | None, typer.Option("--concurrency", metavar="N,N,...", help="The same of servers; none: 4,16,64.")]
Threads = Annotated[str | None, typer.Option("--threads", metavar="N,N,...", help="CPU threads; none: the spec's.")]
Which = Annotated[str, typer.Option("--model", metavar="MODEL", help="policy (the latest), base, or a folder or hub id.")]
Prompts = Annotated[int | None, typer.Option("--prompts", help="Prompts of the pool; none: at least 64, and four of the largest batch.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON (-: print only that).")]


@app.callback()
def _room() -> None:
    """Keeps `generate` a command of its own, whatever else is measured one day."""


@app.command()
def generate(
    experiment: Name,
    overrides: Overrides = None,
    backend: Backends = None,
    batch: Batch = None,
    concurrency: Concurrency = None,
    threads: Threads = None,
    model: Which = "policy",
    prompts: Prompts = None,
    seconds: Annotated[float, typer.Option(help="Measured time of each setting; loading comes on top.")] = 20.0,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Shorter answers than the spec's, for slow machines.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send requests that cost.")] = False,
    json: Json = None,
    home: HomeOption = None,
) -> None:
    """Measure backends, batch sizes and threads on the experiment's own model and prompts.

    Prints tokens a second, start-up and memory of each setting, and the lines for the spec. Writes nothing to the lake.
    """
    from engine.generate.bench import grid, run
    from engine.generate.bench.subject import Subject
    from engine.progress import Terminal
    from engine.report import bench, known

    run.checked(seconds, prompts, max_tokens)
    sizes = [grid.numbers(words, option) for words, option in ((batch, "--batch"), (concurrency, "--concurrency"), (threads, "--threads"))]
    subject = Subject(known.load(experiment, home_of(home), overrides or []), model, max_tokens)
    settings, against = grid.grid(subject, grid.Wanted(backend or (), *sizes))
    plan = run.planned(subject, settings, against, prompts, seconds)
    _ask(plan, yes)
    report = run.bench(plan, Terminal())
    if json is not None:
        _write(json, bench.as_json(report))
    if json != "-":
        bench.text(out(), report)


def _ask(plan: Plan, yes: bool) -> None:
    """Says what will be measured, how long that takes, and how many requests servers will get; SpecError where they cost and nobody
    has agreed."""
    from engine.errors import SpecError
    from engine.report.grid import seconds

    requests, cost = plan.requests(), plan.cost()
    length = seconds(len(plan.settings) * plan.seconds)
    print(f"{len(plan.settings)} settings of about {plan.seconds:g} s, {length} and their loading", file=sys.stderr)
    if not requests:
        return
    text = f"servers will get at most {requests:,} requests of at most {plan.subject.present.sampler.max_tokens} tokens"
    if cost is None:
        print(text, file=sys.stderr)
        return
    text += f", which cost at most about {cost:,.2f} by the prices in the spec"
    if not yes:
        raise SpecError(text, where="command line", hint="add --yes to send them, or bound them with --prompts and --max-tokens")
    print(text, file=sys.stderr)


def _write(place: str, found: dict[str, object]) -> None:
    """JSON to a file, or to standard output."""
    if place == "-":
        emit(found)
        return
    from engine.report.grid import dumps

    Path(place).write_text(dumps(found) + "\n", encoding="utf-8")
