"""Reports as text for people, in tables that fit a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from engine.experiment import Experiment, key
from engine.home import Home
from engine.report.grid import seconds, show, text

if TYPE_CHECKING:
    from engine.gc import Report
    from engine.report.diff import Diff
    from engine.report.lineage import Lineage
    from engine.report.plan import Line
    from engine.report.status import Status


def _say(console: Console, line: str = "") -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def share(value: float | None, error: float | None = None) -> str | None:
    """A share of 1 as 0.842 or 0.842 ± 0.015; None for none."""
    if value is None:
        return None
    return f"{value:.3f}" + (f" ± {error:.3f}" if error is not None else "")


def plan(console: Console, name: str, lines: list[Line]) -> None:
    """A row a step; what is done or closed is only counted."""
    rows = [
        (key(line.round), line.step, line.state, line.why, line.rows, seconds(line.seconds))
        for line in lines
        if line.state not in ("done", "closed") or line.why
    ]
    done, closed = sum(line.state == "done" for line in lines), sum(line.state == "closed" for line in lines)
    if rows:
        show(console, ("round", "step", "state", "why", "rows", "about"), rows, wide=90)
    ahead = [line for line in lines if line.state in ("runs", "waits")]
    known = sum(line.seconds or 0 for line in ahead)
    blank = sum(line.seconds is None for line in ahead)
    told = f", about {seconds(known)}" if known else ""
    told += f" ({blank} steps never ran, so nobody knows)" if blank and known else ""
    told += f"; {closed} rounds closed" + (f", {done} steps of open rounds done" if done else "")
    _say(console, f"{name}: {len(ahead)} steps to run{told}")


def status(console: Console, report: Status, short: bool = False) -> None:
    """A row a round, the base first, then what to do."""
    if not short:
        _say(console, f"{report.experiment}: {report.state}" + (f" - {report.description}" if report.description else ""))
    columns = ("round", "prompts", "pass rate", "kept", "gate", "test", "decision", "policy in", "policy out", "drift", "state", "time")
    rows = []
    for row in report.rounds:
        drift = ", ".join(one.partition(":")[0] for one in row["drift"]) or ("?" if row["trouble"] else "")
        rows.append(
            (
                row["round"],
                row["prompts"],
                share(row["pass_rate"]),
                row["kept"],
                share(row["gate"]),
                share(row["test"], row["test_stderr"]),
                row["decision"],
                _digest(row["policy_in"]),
                _digest(row["policy_out"]),
                drift,
                row["state"],
                seconds(row["seconds"]),
            )
        )
    if rows:
        show(console, columns, rows)
    for line in [] if short else report.advice:
        _say(console, line)


def _digest(value: str | None) -> str:
    return "" if value is None else value[:8]


def commands(console: Console, experiment: Experiment, report: Status) -> None:
    """Three commands to try after a run."""
    name = experiment.name
    last = report.rounds[-1]["round"] if report.rounds else "base"
    rondo = program()
    _say(console, "try:")
    _say(console, f"  {rondo} status {name}")
    _say(console, f"  {rondo} sql @learning_curve -e {name}")
    _say(console, f"  {rondo} lineage {name}@{last} --limit 5")


def program() -> str:
    """How this program can be called again: `rondo`, or its path where the shell would not find that one."""
    own = Path(sys.argv[0])
    if own.name != "rondo" or shutil.which("rondo") == str(own.absolute()):
        return "rondo"
    return os.path.relpath(own) if own.absolute().is_relative_to(Path.cwd()) else str(own)


def experiments(console: Console, home: Home, rows: list[dict[str, Any]]) -> None:
    """A row an experiment."""
    if not rows:
        _say(console, f"no experiment in {home.root}; `rondo init quickstart` writes one")
        return
    shown = [
        (
            r["experiment"],
            r["state"],
            f"{r['rounds']}/{'?' if r['planned'] is None else r['planned']}",
            share(r["base"]),
            share(r["test"], r["test_stderr"]),
            seconds(r["seconds"] or None),
            r["note"],
        )
        for r in rows
    ]
    show(console, ("experiment", "state", "rounds", "base", "test", "time", ""), shown)


def diff(console: Console, report: Diff) -> None:
    """Settings, rows and metrics that differ."""
    left, right = report.left, report.right
    if report.settings:
        show(console, ("setting", left, right), [(k, text(a), text(b)) for k, a, b in report.settings])
    else:
        _say(console, "settings: equal")
    _say(console)
    counts = [(table, c["both"], c["left_only"], c["right_only"]) for table, c in report.rows.items()]
    if counts:
        show(console, ("rows", "in both", f"only {left}", f"only {right}"), counts)
        _say(console)
    measured = [
        (m.round, m.suite, m.metric, m.topic, _pm(m.left, m.left_stderr), _pm(m.right, m.right_stderr), _pm(m.difference, m.stderr, "+"))
        for m in report.metrics
    ]
    if measured:
        show(console, ("round", "suite", "metric", "topic", left, right, "difference"), measured)
    else:
        _say(console, "no metric was measured on both sides")


def _pm(value: float | None, error: float | None, sign: str = "") -> str | None:
    return None if value is None else f"{value:{sign}.4g}" + (f" ± {error:.2g}" if error is not None else "")


def lineage(console: Console, report: Lineage) -> None:
    """The checkpoint, what trained it in short, and rows."""
    one, found = report.checkpoint, report.summary
    trained = f"{one['objective']}, {one['rows_trained']:,} rows in {one['steps']:,} steps"
    _say(console, f"{one['digest']}  {one['experiment']}/{key(one['round'])}  {one['role']}  {trained}")
    _say(console, f"  path     {one['path']}")
    _say(console, f"  parents  {', '.join(one['parents']) or 'none'}")
    if report.also:
        _say(console, f"  also in  {', '.join(report.also)}")
    _say(
        console,
        f"  rows     {found['rows']:,} consumed, {found['distinct_rows']:,} different, of {found['prompts']:,} prompts and "
        f"{found['generations']:,} answers; scores {text(found['lowest_score']) or '-'} to {text(found['highest_score']) or '-'}",
    )
    if found["policies"]:
        _say(console)
        names = [None if p["source_round"] is None else key(p["source_round"]) for p in found["policies"]]
        made = [(name, p["origin"], p["written_by"], p["rows"]) for name, p in zip(names, found["policies"], strict=True)]
        show(console, ("made in round", "origin", "written by", "rows"), made)
    if report.rows:
        _say(console)
        show(console, list(report.rows[0]), [list(row.values()) for row in report.rows], wide=40)


def garbage(console: Console, report: Report) -> None:
    """What went, or would go."""
    from engine.report.grid import size

    for table, count in report.files.items():
        kept = len(report.kept_versions[table])
        _say(console, f"  {table:<14} {count:,} data files; {kept} version{'s' if kept > 1 else ''} kept")
    for what, paths in (("checkpoint", report.checkpoints), ("journal", report.journals)):
        _lines(console, what, paths)
    for note in report.notes:
        _say(console, f"  note: {note}")
    _say(console, f"{'would free' if report.dry_run else 'freed'} {size(report.bytes)}")


def _lines(console: Console, what: str, paths: Iterable[str]) -> None:
    for path in paths:
        _say(console, f"  {what:<14} {path}")
