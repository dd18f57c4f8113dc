"""Decisions: which checkpoint is the policy from which round on. Append-only rows of `promotions`; the newest counts.

A row counts while its round has not been reopened since (`opening`). Promotion of a round is effective from the next
round; a rollback or a forced promotion from the next round that is not opened yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

EFFECTIVE = ("promoted", "forced", "rolled_back")


@dataclass(frozen=True)
class Decision:
    """One row of `promotions`."""

    round: int
    role: str
    decision: str
    digest: str
    effective_round: int
    reason: str
    decided_by: str
    opening: int
    sequence: int
    at: datetime

    @classmethod
    def of(cls, row: dict[str, Any]) -> Decision:
        """From a row of the table."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})

    def row(self) -> dict[str, Any]:
        """As a row of the table, without partition columns."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "round"}


def next_sequence(decisions: list[Decision]) -> int:
    """The number of the next row."""
    return max((d.sequence for d in decisions), default=-1) + 1


def person(
    decisions: list[Decision], round_: int, opening: int, decision: str, digest: str, effective: int, reason: str, by: str
) -> Decision:
    """A row that a person decided: forced or rolled_back."""
    return Decision(round_, "policy", decision, digest, effective, reason, by, opening, next_sequence(decisions), datetime.now(UTC))
