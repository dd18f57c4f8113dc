"""A small lake of answers, and what a file of sql/pairs makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.pairs import STEP
from engine.pairs.fill import pair
from engine.stepsql import StepSql
from small_lake import SmallLake, spec

COMPARE = [{"method": "judge", "name": "duel", "params": {"judge": "policy"}}]


def by_scores(folder: Path, *prompts: list[float | None], **more: Any) -> SmallLake:
    """Answers p0-0, p0-1, ... with these scores, a list for each prompt p0, p1, ..."""
    small = SmallLake(folder)
    small.prompts([f"p{i}" for i in range(len(prompts))])
    small.answers([(f"p{i}", f"answer {j}", score) for i, scores in enumerate(prompts) for j, score in enumerate(scores)], **more)
    return small


def column(small: SmallLake, name: str, values: dict[str, float | None], part: str = "rollout") -> None:
    """A further scorer: a number for each answer by its id."""
    rows = [
        {"item_id": item, "item_kind": "generation", "prompt_id": item[:2], "scorer": name, "scorer_version": "1", "value": value}
        for item, value in values.items()
    ]
    small.put("scores", f"{part}/{name}", rows)


def change(small: SmallLake, **by_column: dict[str, Any]) -> None:
    """Other values in columns of the rollouts, by id of the answer."""
    rows = small.lake.read("generations", experiment="small", rounds=[0], part="rollout").to_pylist()
    for row in rows:
        row.update({name: values[row["generation_id"]] for name, values in by_column.items() if row["generation_id"] in values})
    small.put("generations", "rollout", rows)


def compared(small: SmallLake, judged: dict[tuple[str, str], float | None], judge: str = "duel", order: str = "both", **more: Any) -> None:
    """Comparisons (left, right): the probability that left is better."""
    asked = {"judge": judge, "judge_version": "1", "order": order}
    rows = [
        asked | {"prompt_id": left[:2], "left_id": left, "right_id": right, "probability": chance} | more
        for (left, right), chance in judged.items()
    ]
    small.put("preferences", f"rollout/{judge}", rows)


def rows(small: SmallLake, name: str, round_: int = 0, seed: int = 7, **params: Any) -> list[dict[str, Any]]:
    """The rows of `pairs` that pairs/<name>.sql makes."""
    sql = StepSql.load(f"pairs/{name}.sql", params, STEP, None)
    own: dict[str, Any] = {"seed": seed, "select": {}, "pairs": {"sql": f"pairs/{name}.sql"}}
    own["train"] = [{"objective": "dpo", "init": "previous", "reference": "previous", "data": "round"}]
    if "preferences" in sql.tables:
        own["compare"] = COMPARE
    if any(table.startswith("followup") for table in sql.tables):
        own["followup"] = [{"name": "refine", "sql": "followup/refine.sql"}]
    return pair(small.context(spec(**own), round_), sql).to_pylist()


def ids(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(chosen, rejected) of each row, in order."""
    return sorted((row["chosen_id"], row["rejected_id"]) for row in found)


def pairs(small: SmallLake, name: str, **params: Any) -> list[tuple[str, str]]:
    """(chosen, rejected) that pairs/<name>.sql makes."""
    return ids(rows(small, name, **params))
