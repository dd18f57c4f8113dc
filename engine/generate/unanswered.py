"""Prompts that an actor has no answer to, as errors name them and as the ledger keeps them (sql/queries/unanswered.sql)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SHOWN = 5  # in an error
NAMED = 1000  # in the ledger, an actor


@dataclass
class Unanswered:
    """Prompts by actor, and a line for people about each."""

    by_actor: dict[str, list[str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def add(self, actor: str, prompt: str, line: str) -> None:
        """One prompt that `actor` has no answer to."""
        self.by_actor.setdefault(actor, []).append(prompt)
        self.lines.append(line)

    @property
    def prompts(self) -> set[str]:
        """The prompts that lack somebody's answer."""
        return {prompt for own in self.by_actor.values() for prompt in own}

    def shown(self) -> str:
        """The first of them, a line each."""
        more = f"\n  and {len(self.lines) - SHOWN} more" if len(self.lines) > SHOWN else ""
        return "\n  ".join(self.lines[:SHOWN]) + more

    def detail(self) -> dict[str, Any]:
        """For the ledger: of each actor how many prompts, and the ids of the first thousand."""
        found = {actor: {"count": len(own), "prompts": own[:NAMED]} for actor, own in sorted(self.by_actor.items())}
        return {"unanswered": found} if found else {}
