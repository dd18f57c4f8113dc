"""Labels of people: the scorer `human`, whose rows come from an audited CSV and not from a step.

They lie in the part `<answers>/human` of scores, beside what the steps wrote, so `scored` has a column `human`. No ledger row
stands behind them: a round's fingerprints do not know them, and the SQL of steps does not see them (engine/query.py), so reading
labels in neither reopens a round nor changes what a later one selects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from engine.ids import canonical, digest
from engine.rows import own_columns
from engine.run import Driver
from engine.tables import check

SCORER = "human"


@dataclass(frozen=True)
class Label:
    """What a person said of one answer. `verdict` right or wrong, or None where `value` is a number of another scale.

    `weight`: how many answers of the round it stands for; `content_id`: of the text that was judged.
    """

    item_id: str
    content_id: str
    prompt_id: str
    verdict: str | None
    value: float
    weight: float
    rule: str
    stratum: str
    note: str | None = None

    def row(self, version: str) -> dict[str, Any]:
        """As a row of scores."""
        detail = {"weight": self.weight, "rule": self.rule, "stratum": self.stratum} | ({"note": self.note} if self.note else {})
        return {
            "item_id": self.item_id,
            "item_kind": "generation",
            "prompt_id": self.prompt_id,
            "scorer": SCORER,
            "scorer_version": version,
            "value": self.value,
            "verdict": self.verdict,
            "detail": canonical(detail),
            "cache_key": self.content_id,
        }


@dataclass(frozen=True)
class Stored:
    """What became of the labels of one round: new ones, ones in place of others, equal ones, and how many there are now."""

    round: int
    answers_of: str
    added: int
    replaced: int
    unchanged: int
    labels: int


def store(driver: Driver, round_: int, answers_of: str, labels: Sequence[Label]) -> Stored:
    """Puts labels of one round beside those that it has, in one commit; a later label takes the place of an earlier one.

    Nothing is written where all of them are there already. LockError where the driver has lost the experiment.
    """
    part, experiment = f"{answers_of}/{SCORER}", driver.spec.experiment
    version = digest("human", [[one.item_id, one.content_id, one.verdict, one.value, one.weight] for one in by_item(labels)])
    old = own_columns(driver.lake.read("scores", experiment=experiment, rounds=[round_], part=part))
    known = {row["item_id"]: row for row in old.to_pylist()}
    new = check("scores", pa.Table.from_pylist([one.row(version) for one in by_item(labels)])).to_pylist()
    same = sum(known.get(row["item_id"]) == row for row in new)
    replaced = sum(row["item_id"] in known for row in new) - same
    whole = known | {row["item_id"]: row for row in new}
    if same < len(new):
        driver.lock.check()
        rows = pa.Table.from_pylist([whole[item] for item in sorted(whole)], schema=old.schema)
        driver.lake.replace("scores", rows, experiment=experiment, round=round_, part=part)
    return Stored(round_, answers_of, len(new) - same - replaced, replaced, same, len(whole))


def by_item(labels: Iterable[Label]) -> list[Label]:
    """In order of their answers, so that the order of a file changes nothing."""
    return sorted(labels, key=lambda one: one.item_id)
