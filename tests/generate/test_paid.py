"""A round that is generated again asks nobody twice: engine/generate/paid.py, over the runner and a tiny real model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import loop_home
from engine.experiment import Experiment
from engine.generate import backends
from engine.rows import content_hash, own_columns
from engine.step import BASE

POLICY = {"name": "policy", "samples": 2}
COLD = {"name": "cold", "model": "base", "temperature": 0.25, "samples": 1, "share": 0.5}
GOLD = {"name": "gold", "backend": "gold"}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the base model and one generation of round 0: the policy alone, four answers a prompt."""
    folder = tmp_path_factory.mktemp("ready")
    loop_home.write(folder)
    _load(folder, []).run(until=BASE)
    _generate(_load(folder, []))
    return folder


@pytest.fixture
def home(ready: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    shutil.copytree(ready, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """(actor, prompt, number) of each answer that a model was asked for."""
    found: list[tuple[str, str, int]] = []
    backend = backends.load("transformers")
    plain = backend.generate

    def generate(self, asks):
        for rows in plain(self, asks):
            found.extend((self.job.actor, row["prompt_id"], row["sample"]) for row in rows.to_pylist())
            yield rows

    monkeypatch.setattr(backend, "generate", generate)
    return found


def _load(folder: Path, actors: list[dict], *more: str) -> Experiment:
    return loop_home.load(folder, f"generate.actors={json.dumps(actors)}", *more)


def _generate(experiment: Experiment, *, again: bool = False) -> dict[str, int]:
    """Runs round 0 as far as its answers; how many each actor's part of the ledger calls kept."""
    with experiment.driver() as driver:
        driver.open(0, bump=again)
        for step in ("policy", "prompts", "generations"):
            entry = driver.step(0, step).entry
    assert entry is not None
    return {name: told.get("answers_kept", 0) for name, told in entry.detail.get("actors", {"policy": entry.detail}).items()}


def _rows(experiment: Experiment, timed: bool = False) -> list[dict]:
    rows = experiment.lake.read("generations", experiment="loop", rounds=[0], part="rollout")
    keys = ("actor", "prompt_id", "sample", "generation_id")
    return rows.sort_by([(key, "ascending") for key in keys]).select([*keys, "response", *(["seconds"] if timed else [])]).to_pylist()


def _actors(asked: list[tuple[str, str, int]]) -> dict[str, int]:
    return {actor: sum(a == actor for a, _, _ in asked) for actor in {a for a, _, _ in asked}}


def test_one_more_actor_asks_nobody_else_again(home, asked):
    before = _rows(_load(home, []), timed=True)
    experiment = _load(home, [POLICY | {"samples": 4}, COLD, GOLD])
    assert _generate(experiment) == {"policy": 96, "cold": 0, "gold": 0}
    assert _actors(asked) == {"cold": 12}
    rows = _rows(experiment, timed=True)
    assert [row for row in rows if row["actor"] == "policy"] == before  # as they were, their seconds too
    assert len(rows) == 96 + 12 + 24


def test_more_samples_and_another_share_ask_what_is_missing(home, asked):
    _generate(_load(home, [POLICY | {"samples": 4}, COLD]))
    asked.clear()
    experiment = _load(home, [POLICY | {"samples": 5}, COLD | {"share": 1.0}])
    assert _generate(experiment) == {"policy": 96, "cold": 12}
    assert _actors(asked) == {"policy": 24, "cold": 12}
    assert {number for actor, _, number in asked if actor == "policy"} == {4}
    # what was kept and what was asked are together what a run from scratch gives
    found = _rows(experiment)
    shutil.rmtree(home / "lake" / "generations")
    shutil.rmtree(home / "lake" / "steps")
    _load(home, []).run(until=BASE)
    fresh = _load(home, [POLICY | {"samples": 5}, COLD | {"share": 1.0}])
    assert _generate(fresh) == {"policy": 0, "cold": 0}
    assert _rows(fresh) == found


@pytest.mark.parametrize(
    ("actors", "more", "expected"),
    [
        ([POLICY | {"temperature": 0.5}], [], 48),
        ([POLICY | {"top_p": 0.5}], [], 48),
        ([POLICY | {"top_k": 3}], [], 48),
        ([POLICY | {"max_tokens": 4}], [], 48),
        ([POLICY | {"name": "other"}], [], 48),
        ([POLICY], ["seed=4"], 48),
        ([POLICY], ["generate.batch=7"], 0),
        ([POLICY], ["generate.until={right: 1, cap: 2, wave: 1}"], 0),
    ],
)
def test_what_would_be_another_answer_is_asked_again(home, asked, actors, more, expected):
    _generate(_load(home, actors, *more))
    assert len(asked) == expected


def test_another_policy_answers_again(home, asked, tmp_path):
    """The same spec with another base: the model's digest is another."""
    _load(home, [], "base.train.max_steps=3").run(first=BASE, until=BASE)
    asked.clear()  # the base has answered the held-out prompts
    _generate(_load(home, [POLICY], "base.train.max_steps=3"))
    assert len(asked) == 48


def test_a_part_that_is_not_what_the_ledger_says_is_not_trusted(home, asked):
    experiment = _load(home, [])
    rows = own_columns(experiment.lake.read("generations", experiment="loop", rounds=[0], part="rollout"))
    experiment.lake.replace("generations", rows.filter(pc.not_equal(rows["sample"], 3)), experiment="loop", round=0, part="rollout")
    assert _generate(_load(home, [POLICY])) == {"policy": 0}
    assert len(asked) == 48


def test_a_failed_answer_is_asked_again(home, asked):
    experiment = _load(home, [])
    rows = own_columns(experiment.lake.read("generations", experiment="loop", rounds=[0], part="rollout"))
    reasons = ["error" if sample == 1 else "stop" for sample in rows["sample"].to_pylist()]
    broken = rows.set_column(rows.column_names.index("finish_reason"), "finish_reason", pa.array(reasons))
    experiment.lake.replace("generations", broken, experiment="loop", round=0, part="rollout")
    with experiment.driver() as driver:  # as the runner would have written it
        entry = driver.ledger.entries[0, "generations"]
        driver.ledger.commit(replace(entry, hashes={"generations/rollout": content_hash("generations", broken)}))
    assert _generate(_load(home, [POLICY])) == {"policy": 24}
    assert {number for _, _, number in asked} == {1}
