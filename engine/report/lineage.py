"""From a trained checkpoint back to each row that trained it: its score, the policy that wrote it, its prompt."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import RondoError
from engine.experiment import key
from engine.home import Home
from engine.lake import Lake
from engine.query import Session, Window
from engine.report import known


@dataclass(frozen=True)
class Lineage:
    """A checkpoint, a summary of what trained it, and its rows (as many as were asked for)."""

    checkpoint: dict[str, Any]
    also: list[str]
    summary: dict[str, Any]
    rows: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def lineage(text: str, home: Home, limit: int = 10) -> Lineage:
    """The lineage of a checkpoint: a digest, the start of one, or EXP@R. RondoError where there is none or more than one."""
    lake = Lake(home.lake)
    row, also = find(text, home, lake)
    session = Session(lake, Window())
    params = {"experiment": row["experiment"], "round": row["round"], "digest": row["digest"]}
    source = "from lake.lineage where experiment = $experiment and round = $round and digest = $digest"
    counts = session.table(f"select {SUMMARY} {source}", params).to_pylist()[0]
    policies = session.table(f"select written_by, source_round, origin, count(*) as rows {source} group by all order by all", params)
    listed = f"select {COLUMNS} {source} order by first_position, role, row_id limit {limit:d}"
    rows = session.table(listed, params).to_pylist()
    return Lineage({name: row[name] for name in SHOWN}, also, counts | {"policies": policies.to_pylist()}, rows)


SHOWN = ("digest", "experiment", "round", "role", "objective", "parents", "path", "rows_trained", "steps", "loss", "at")
COLUMNS = "row_id, times, origin, source_round, score, verdict, written_by, reason, prompt_id, generation_id, question, answer"
SUMMARY = """coalesce(sum(times), 0)::BIGINT as rows, count(*) as distinct_rows, count(distinct prompt_id) as prompts,
    count(distinct generation_id) as generations, min(score) as lowest_score, max(score) as highest_score"""


def find(text: str, home: Home, lake: Lake) -> tuple[dict[str, Any], list[str]]:
    """The row of `checkpoints` meant by `text`, and the other places that have the same checkpoint."""
    rows = lake.read("checkpoints").to_pylist()
    if "@" in text or "/" in text:
        name, round_ = known.need(text)
        known.entries(name, home)
        own = [row for row in rows if row["experiment"] == name and row["round"] == round_ and row["role"] == "policy"]
        if not own:
            raise RondoError(f"{name} has no checkpoint of round {key(round_)}", hint=f"`rondo status {name}`")
        chosen = max(own, key=lambda row: row["at"])
    else:
        own = [row for row in rows if row["digest"].startswith(text.lower())] if text else []
        digests = sorted({row["digest"] for row in own})
        if len(digests) > 1:
            raise RondoError(f"{len(digests)} checkpoints start with {text!r}: {', '.join(digests[:5])}", hint="give more of the digest")
        if not own:
            raise RondoError(
                f"no checkpoint starts with {text!r}", hint="`rondo sql 'select experiment, round, digest from lake.checkpoints'`"
            )
        chosen = min(own, key=lambda row: (row["at"], row["experiment"]))
    places = {f"{row['experiment']}/{key(row['round'])}" for row in rows if row["digest"] == chosen["digest"]}
    return chosen, sorted(places - {f"{chosen['experiment']}/{key(chosen['round'])}"})
