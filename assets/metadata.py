"""What an asset shows in the UI: counts, hashes, schema, first rows, and a small plot where a picture says more."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING, Any

from dagster import MetadataValue, TableColumn, TableColumnConstraints, TableSchema

from assets import highlights
from engine.experiment import Experiment, key
from engine.ledger import Entry
from engine.query import Session
from engine.report import plot as curves
from engine.report.grid import plain
from engine.run import Done
from engine.spec import Spec
from engine.tables import TABLES

if TYPE_CHECKING:
    import altair

PREVIEW_ROWS = 5
PREVIEW_TEXT = 160  # characters of one cell
BINS = 24
CURVES = ("evaluation", "promotion")
TRAINED = ("loss", "rewards/margins")
HISTOGRAMS = ("score", "eval_score")

CURVE = """
select round, suite, metric, value, value - coalesce(stderr, 0) as low, value + coalesce(stderr, 0) as high
from lake.evaluations
where experiment = $experiment and part = 'policy' and topic is null and metric = $metric and round <= $round and value is not null
order by suite, round
"""
HISTOGRAM = """
with v as (select value from lake.scores where experiment = $experiment and round = $round and part = $part and value is not null),
  span as (select min(value) as low, greatest(max(value) - min(value), 1e-9) as wide from v)
select low + wide * least(floor((value - low) / wide * $bins), $bins - 1) / $bins as start, wide / $bins as width, count(*) as answers
from v, span group by all order by start
"""


def of(done: Done, experiment: Experiment) -> dict[str, Any]:
    """Metadata of one step's materialisation. A step that the round does not have shows only that it was skipped."""
    shown: dict[str, Any] = {"state": done.state, "round": key(done.round)}
    entry = done.entry
    if entry is None:
        return shown
    shown |= {
        "rows in": entry.rows_in,
        "seconds": round(entry.seconds, 3),
        "content hash": entry.content_hash,
        "fingerprint": entry.fingerprint,
    }
    if entry.reused_from:
        shown["reused from"] = entry.reused_from
    shown |= {name: _shown(value) for name, value in entry.detail.items() if name not in shown and value not in (None, {}, [])}
    if entry.table:
        session = experiment.session(entry.round)
        with session.connection:
            shown |= {"dagster/partition_row_count": entry.rows_out, "dagster/column_schema": schema(entry.table)}
            shown["preview"] = preview(entry, session)
            highlight = highlights.of(entry, _own_part(entry), session)
            if highlight is not None:
                shown[highlight[0]] = markdown(highlight[1])
            chart = plot(entry, experiment.spec, session)
        if chart is not None:
            shown["plot"] = chart
    return shown


def schema(table: str) -> TableSchema:
    """The declared columns of a table: types, units, which may be null."""
    declared = TABLES[table]
    columns = []
    for field in declared.schema:
        doc = (field.metadata or {}).get(b"doc", b"").decode()
        constraints = TableColumnConstraints(nullable=field.name in declared.nullable)
        columns.append(TableColumn(field.name, str(field.type), doc or None, constraints))
    return TableSchema(columns)


def preview(entry: Entry, session: Session) -> MetadataValue:
    """The first rows of the step's own part as a Markdown table, long cells cut."""
    part = _own_part(entry)
    query = (
        f"select * exclude (experiment, round, part) from lake.{entry.table} "
        f"where experiment = $experiment and round = $round and part = $part limit {PREVIEW_ROWS}"
    )
    rows = session.table(query, {"experiment": entry.experiment, "round": entry.round, "part": part}).to_pylist()
    return markdown(rows)


def markdown(rows: list[dict[str, Any]]) -> MetadataValue:
    """Rows as a Markdown table, without columns that are null in all of them."""
    if not rows:
        return MetadataValue.md("no rows")
    shown = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    lines = ["| " + " | ".join(shown) + " |", "|" + "---|" * len(shown)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in shown) + " |" for row in rows]
    return MetadataValue.md("\n".join(lines))


def _shown(value: Any) -> Any:
    """A value of a step's detail as Dagster shows it; what is nested as JSON."""
    if isinstance(value, str | int | float):
        return value
    return MetadataValue.json(plain(value if isinstance(value, dict) else {"values": value}))


def _own_part(entry: Entry) -> str:
    """The part of the step's own table; `parts` also lists those of the other tables it wrote."""
    parts = [name.removeprefix(f"{entry.table}/") for name in entry.hashes if name.startswith(f"{entry.table}/")]
    return min(parts, default="")


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    text = text if len(text) <= PREVIEW_TEXT else text[: PREVIEW_TEXT - 1] + "…"
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ⏎ ").replace("<", "&lt;")


def plot(entry: Entry, spec: Spec, session: Session) -> MetadataValue | None:
    """The learning curve or the training log up to this round, or a histogram of the combined score, as a PNG in the page; None for
    other steps."""
    if entry.step in CURVES:
        conditions = spec.gate.require
        metric = conditions[0].metric if conditions else spec.evaluate.metrics[0]
        rows = session.table(CURVE, {"experiment": entry.experiment, "metric": metric, "round": entry.round}).to_pylist()
        return _image(_curve(rows, metric)) if rows else None
    if entry.table == "checkpoints":
        return _training(entry, session)
    if entry.step in HISTOGRAMS:
        params = {"experiment": entry.experiment, "round": entry.round, "part": _own_part(entry), "bins": BINS}
        rows = session.table(HISTOGRAM, params).to_pylist()
        return _image(_histogram(rows)) if rows else None
    return None


def _training(entry: Entry, session: Session) -> MetadataValue | None:
    """The loss of a role over the steps up to this round; pairs show their margins below it."""
    import altair as alt

    role, charts = _own_part(entry), []
    for metric in TRAINED:
        rows = [r for r in curves.curve(session, entry.experiment, metric, role) if r["round"] <= entry.round]
        charts += [curves.chart(rows, metric)] if rows else []
    return _image(alt.vconcat(*charts)) if charts else None


def _curve(rows: list[dict[str, Any]], metric: str) -> altair.LayerChart:
    import altair as alt

    data = alt.Data(values=[row | {"round": key(row["round"])} for row in rows])
    x = alt.X("round:O", title="round", axis=alt.Axis(labelAngle=0), sort=[key(r) for r in sorted({row["round"] for row in rows})])
    line = alt.Chart(data).mark_line(point=True).encode(x=x, y=alt.Y("value:Q", title=metric), color=alt.Color("suite:N", title="split"))
    bars = alt.Chart(data).mark_rule().encode(x=x, y=alt.Y("low:Q", title=metric), y2="high:Q", color="suite:N")
    return (line + bars).properties(width=360, height=200)


def _histogram(rows: list[dict[str, Any]]) -> altair.Chart:
    import altair as alt

    data = alt.Data(values=[row | {"end": row["start"] + row["width"]} for row in rows])
    x = alt.X("start:Q", bin="binned", title="score")
    return alt.Chart(data).mark_bar().encode(x=x, x2="end:Q", y=alt.Y("answers:Q", title="answers")).properties(width=360, height=200)


def _image(chart: altair.Chart | altair.LayerChart | altair.VConcatChart) -> MetadataValue:
    picture = BytesIO()
    chart.save(picture, format="png")
    return MetadataValue.md(f"![plot](data:image/png;base64,{b64encode(picture.getvalue()).decode()})")
