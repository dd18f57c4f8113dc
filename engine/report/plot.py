"""Curves of the training log as a picture: a number over the steps of all rounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import sqlfile
from engine.errors import RondoError, SpecError
from engine.experiment import key
from engine.home import Home
from engine.lake import Lake
from engine.query import Session, Window
from engine.registry import nearest
from engine.report import known

if TYPE_CHECKING:
    import altair

FORMATS = ("svg", "png", "pdf", "html")
WIDTH, HEIGHT = 520, 180


def curve(session: Session, experiment: str, metric: str, role: str) -> list[dict[str, Any]]:
    """The rows of @training_curve."""
    file = sqlfile.read(sqlfile.find("queries/training_curve"))
    return session.table(file.text, {"experiment": experiment, "metric": metric, "role": role}).to_pylist()


def chart(rows: Sequence[dict[str, Any]], metric: str) -> altair.LayerChart:
    """One number over the steps; a line an experiment; of one alone, a thin rule where each round begins."""
    import altair as alt

    data = alt.Data(values=[{"experiment": r["experiment"], "step": r["total_step"], "value": r["value"]} for r in rows])
    firsts: dict[int, int] = {}
    for row in rows:
        firsts.setdefault(row["round"], row["total_step"] - row["step"])
    starts = alt.Data(values=[{"step": step, "round": key(round_)} for round_, step in firsts.items()])
    names = {row["experiment"] for row in rows}
    # what a log has one entry of would be a line without length
    line = (
        alt.Chart(data)
        .mark_line(point=len(rows) <= 40)
        .encode(
            x=alt.X("step:Q", title="steps of all rounds"),
            y=alt.Y("value:Q", title=metric, scale=alt.Scale(zero=False)),
            color=alt.Color("experiment:N", title=None, legend=alt.Legend(orient="top") if len(names) > 1 else None),
        )
    )
    rules = alt.Chart(starts).mark_rule(color="#999", strokeDash=[2, 3]).encode(x="step:Q")
    labels = (
        alt.Chart(starts).mark_text(align="left", dx=3, dy=8, color="#777", fontSize=9).encode(x="step:Q", y=alt.value(0), text="round:N")
    )
    layers = (rules, labels, line) if len(names) == 1 else (line,)
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def save(experiments: Sequence[str], metrics: Sequence[str], out: Path, home: Home, role: str = "policy") -> int:
    """Writes one picture with a chart a number, and returns how many entries of the log it shows.

    SpecError for a kind of file that cannot be written; RondoError where an experiment has not run, or has no such number.
    """
    import altair as alt

    kind = out.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise SpecError(f"{out}: expected a file that ends in {', '.join(FORMATS)}", where="command line", hint=f"{out.stem}.svg")
    session = Session(Lake(home.lake), Window())
    charts, shown = [], 0
    for metric in metrics:
        rows = []
        for name in experiments:
            known.entries(name, home)
            found = curve(session, name, metric, role)
            if not found:
                raise RondoError(f"the training log of {name} has no {metric} of {role}", hint=_near(session, name, metric, role))
            rows += found
        charts.append(chart(rows, metric))
        shown += len(rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture = alt.vconcat(*charts)
    picture.save(str(out), format=kind, **({"inline": True} if kind == "html" else {}))
    return shown


def _near(session: Session, experiment: str, metric: str, role: str) -> str:
    query = "select distinct metric from lake.training_curve where experiment = $experiment and role = $role order by metric"
    there = session.table(query, {"experiment": experiment, "role": role})["metric"].to_pylist()
    return f"{nearest(metric, there)}; it has {', '.join(there)}" if there else f"`rondo sql @training -e {experiment}` shows what trained"
