"""What is worth seeing of a step beside its first rows: a small table by kind of step, as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from engine.ledger import Entry
from engine.query import Session

OWN = "experiment = $experiment and round = $round and part = $part"
CALIBRATED = """
select g.temperature, count(*) as answers, count(*) filter (where s.value >= 1) / nullif(count(s.value), 0) as right_share
from lake.generations as g
left join lake.scores as s
  on s.experiment = g.experiment and s.round = g.round and s.part = 'calibrate/score' and s.item_id = g.generation_id
where g.experiment = $experiment and g.round = $round and g.part = 'calibrate' group by g.temperature order by g.temperature
"""
NUMBERS = f"""
select scorer, count(*) as items, count(value) as numbers, min(value) as least, fsum(value) / nullif(count(value), 0) as mean,
  quantile_cont(value, 0.5) as median, max(value) as most
from lake.scores where {OWN.replace("part = $part", "(part = $part or starts_with(part, $part || '_'))")} group by scorer order by scorer
"""
VERDICTS = f"""
select coalesce(verdict, 'none') as verdict, count(*) as answers from lake.scores where {OWN} group by all order by answers desc, verdict
"""
ANSWERS = f"""
select actor, finish_reason, temperature, count(*) as answers, count(distinct prompt_id) as prompts,
  sum(response_tokens) / nullif(count(response_tokens), 0) as mean_tokens
from lake.generations where {OWN} group by all order by answers desc, actor, finish_reason, temperature
"""
SELECTED = f"""
select origin, source_round, count(*) as rows, count(distinct prompt_id) as prompts, fsum(weight) as weight
from lake.selected where {OWN} group by all order by source_round desc, origin
"""


TRAINED = f"""
with log as (select metric, step, value from lake.training_log where {OWN})
select metric, arg_min(value, step) as first, arg_max(value, step) as last, min(value) as least, max(value) as most, count(value) as entries
from log group by metric order by metric = 'loss' desc, metric
"""


@dataclass(frozen=True)
class Highlight:
    """A table for the steps whose name and table fit. `step` and `table` are patterns; the first that fits counts."""

    title: str
    step: str
    table: str
    query: str


HIGHLIGHTS = (
    Highlight(
        "cluster table",
        "clusters_*",
        "clusters",
        f"select cluster_id, size, weight, mean_score, silhouette, distance, shift, label from lake.cluster_stats where {OWN} "
        "order by size desc, cluster_id limit 30",
    ),
    Highlight(
        "vectors",
        "embeddings_*",
        "embeddings",
        f"select model, count(*) as vectors, max(len(vector)) as dimensions from lake.embeddings where {OWN} group by model order by model",
    ),
    Highlight(
        "plan rows",
        "plan_*",
        "plan",
        f"select key, item_id, value, reason from lake.plan where {OWN} order by key, item_id nulls first limit 40",
    ),
    Highlight(
        "first picked",
        "pick_*",
        "scores",
        f"select item_kind, item_id, prompt_id, value, detail from lake.scores where {OWN} and value is not null "
        "order by value, item_id limit 10",
    ),
    Highlight(
        "dropped by rule",
        "*",
        "prompts_dropped",
        f"select rule, suite, count(*) as prompts, min(reason) as example from lake.prompts_dropped where {OWN} "
        "group by rule, suite order by prompts desc, rule, suite",
    ),
    Highlight(
        "prompts by topic",
        "prompts",
        "prompts",
        f"select topic, task, count(*) as prompts from lake.prompts where {OWN} group by all "
        "order by prompts desc, topic nulls last, task nulls last limit 30",
    ),
    Highlight("answers by temperature", "calibrate_*", "*", CALIBRATED),
    Highlight("training log", "checkpoint*", "checkpoints", TRAINED),
    Highlight("rows by origin", "selected", "selected", SELECTED),
    Highlight("verdicts", "score", "scores", VERDICTS),
    Highlight("numbers by scorer", "scores_*", "scores", NUMBERS),
    Highlight("answers by end", "*generations", "generations", ANSWERS),
)


def of(entry: Entry, part: str, session: Session) -> tuple[str, list[dict[str, Any]]] | None:
    """Title and rows of the highlight of a step; None where it has none, or no rows."""
    found = next((h for h in HIGHLIGHTS if fnmatchcase(entry.step, h.step) and fnmatchcase(entry.table, h.table)), None)
    if found is None:
        return None
    rows = session.table(found.query, {"experiment": entry.experiment, "round": entry.round, "part": part}).to_pylist()
    return (found.title, rows) if rows else None
