"""A shipped recipe that has run on the tiny experiment, and what its tables say, for tests that work the method out again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loop_home
import recipe_home
from engine.experiment import Experiment

SMALL = ("prompts.per_round=8", "prompts.gate=null", "base.train.max_steps=4")
TINY = {"max_steps": 2, "batch_size": 4, "max_length": 64, "learning_rate": 1e-2, "log_every": 1}


@dataclass(frozen=True)
class Ran:
    """The tables of a finished experiment by round."""

    experiment: Experiment

    def rows(self, table: str, round_: int, part: str = "policy") -> list[dict[str, Any]]:
        """The rows of a part, sorted by nothing."""
        return self.experiment.lake.read(table, experiment="loop", rounds=[round_], part=part).to_pylist()

    def answers(self, round_: int) -> dict[str, list[dict[str, Any]]]:
        """Rollouts by prompt, in the order of their samples, each with its numbers by scorer under `numbers`."""
        numbers: dict[str, dict[str, float | None]] = defaultdict(dict)
        for row in self.experiment.lake.read("scores", experiment="loop", rounds=[round_]).to_pylist():
            if row["part"].startswith("rollout/") and row["segment"] is None:
                numbers[row["item_id"]][row["scorer"]] = row["value"]
        found = defaultdict(list)
        for row in sorted(self.rows("generations", round_, "rollout"), key=lambda row: (row["sample"], row["generation_id"])):
            found[row["prompt_id"]].append(row | {"numbers": numbers[row["generation_id"]]})
        return dict(found)

    def policy(self, round_: int) -> str:
        """Digest of the model that the round starts with."""
        return self.experiment.state().entries[round_, "policy"].content_hash

    def logged(self, round_: int, metric: str = "loss") -> dict[int, float]:
        """A metric of training_log by optimizer step."""
        return {row["step"]: row["value"] for row in self.rows("training_log", round_) if row["metric"] == metric}

    def first_batch(self, round_: int, table: str = "pairs") -> list[dict[str, Any]]:
        """The rows of the first optimizer step: a batch, or all where there are fewer."""
        known = {row["row_id"]: row for row in self.rows(table, round_)}
        taken = sorted(self.rows("trained_rows", round_), key=lambda row: row["position"])
        return [known[row["row_id"]] for row in taken[: min(TINY["batch_size"], len(known))]]


def ran(folder: Path, recipe: str, *overrides: str, over: dict[str, Any] | None = None) -> Ran:
    """Runs two rounds of the recipe on eight prompts a round. `over` is YAML that is set over that of tests/recipes."""
    recipe_home.write(folder, recipe, over)
    small = (*SMALL, *(f"train.0.{key}={value}" for key, value in TINY.items()))
    experiment = loop_home.load(folder, *small, *overrides)
    experiment.run()
    assert experiment.state().next_round() is None
    return Ran(experiment)


def best_worst(answers: list[dict[str, Any]], scorer: str = "score") -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(best, worst) of a prompt's answers in the order of their samples, or None where there are not two different numbers."""
    known = [one for one in answers if one["numbers"].get(scorer) is not None]
    if not known:
        return None
    best = max(known, key=lambda one: one["numbers"][scorer])  # the first of several: both keep the earlier sample
    worst = min(known, key=lambda one: one["numbers"][scorer])
    return (best, worst) if best["numbers"][scorer] > worst["numbers"][scorer] else None


def ids(rows: list[dict[str, Any]]) -> set[tuple[str | None, str | None]]:
    """(chosen_id, rejected_id) of pairs."""
    return {(row["chosen_id"], row["rejected_id"]) for row in rows}


def expected(answers: dict[str, list[dict[str, Any]]], scorer: str = "score") -> set[tuple[str, str]]:
    """`ids` of best against worst of every prompt."""
    both = filter(None, (best_worst(of, scorer) for of in answers.values()))
    return {(best["generation_id"], worst["generation_id"]) for best, worst in both}
