"""A whole tiny experiment with the backend `vllm` (its stand-in): one start for a checkpoint's evaluation and the next round."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import loop_home
from engine import models
from engine.generate import transformers
from engine.train.steps import CheckpointStep
from processes import alive
from vllm_standin import calls, interpreter

ROUNDS = 2


def load(folder: Path, *overrides: str, **behaviour: Any) -> Any:
    loop_home.write(folder)
    python = interpreter(folder, **behaviour)
    return loop_home.load(folder, "generate.backend=vllm", f"generate.params.python={python}", f"rounds={ROUNDS}", *overrides)


def watch(monkeypatch: pytest.MonkeyPatch, of: Any, name: str, look: Callable[[], None]) -> None:
    """Looks before each call."""
    whole = getattr(of, name)

    def watched(*args: Any, **given: Any) -> Any:
        look()
        return whole(*args, **given)

    monkeypatch.setattr(of, name, watched)


def test_evaluation_and_the_next_round_share_an_engine_that_is_gone_while_a_model_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = list[bool]()
    watch(monkeypatch, CheckpointStep, "run", lambda: trained.append(any(alive(call["pid"]) for call in calls(tmp_path, "start"))))
    experiment = load(tmp_path)
    experiment.run()
    assert trained == [False] * (ROUNDS + 1)
    starts = calls(tmp_path, "start")
    checkpoints = [models.digest(experiment.checkpoint(round_).path) for round_ in range(-1, ROUNDS)]
    assert [models.digest(Path(call["start"]["model"])) for call in starts] == checkpoints
    by = [sum(call["pid"] == start["pid"] for call in calls(tmp_path, "prompt")) for start in starts]
    held_out, rollouts = 20 * experiment.spec.evaluate.samples, 24 * 4
    assert by == [held_out + rollouts] * ROUNDS + [held_out]
    assert len(calls(tmp_path, "end")) == len(starts) and not any(alive(call["pid"]) for call in starts)
    rows = experiment.lake.read("generations", experiment="loop", part="rollout").to_pylist()
    assert len(rows) == 2 * rollouts and {row["model"] for row in rows} == set(checkpoints[:ROUNDS])
    logs = list((tmp_path / "logs" / "loop").glob("*.log"))
    assert [log.name for log in logs] == ["vllm-0.log"] and "no news" in logs[0].read_text()


def test_a_model_in_this_process_does_not_load_beside_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = list[bool]()
    watch(monkeypatch, transformers.models, "load", lambda: loaded.append(any(alive(call["pid"]) for call in calls(tmp_path, "start"))))
    experiment = load(
        tmp_path, "rounds=1", "generate.actors=[{name: policy}, {name: base, model: base, backend: transformers}]", "generate.samples=1"
    )
    experiment.run()
    rows = experiment.lake.read("generations", experiment="loop", part="rollout")
    assert sorted(set(rows["actor"].to_pylist())) == ["base", "policy"]
    assert loaded and not any(loaded)


def test_an_error_of_a_step_leaves_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise MemoryError

    watch(monkeypatch, CheckpointStep, "run", lambda: fail() if calls(tmp_path, "start") else None)
    experiment = load(tmp_path)
    with pytest.raises(MemoryError):
        experiment.run()
    assert calls(tmp_path, "start") and not any(alive(call["pid"]) for call in calls(tmp_path, "start"))


def test_the_engine_of_a_dagster_run_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster import DagsterInstance, materialize

    from assets.definitions import of
    from engine.home import Home

    load(tmp_path)
    path = tmp_path / "experiments" / "loop.yaml"
    python = interpreter(tmp_path)
    path.write_text(path.read_text().replace("generate: {", f"generate: {{backend: vllm, params: {{python: {python}}}, "))
    found = of(Home.find(tmp_path))
    with DagsterInstance.ephemeral() as instance:
        for key in ("base", "000"):
            instance.add_dynamic_partitions("rounds_loop", [key])
            run = materialize(list(found.assets or ()), instance=instance, partition_key=key, resources=found.resources)
            assert run.success
            assert not any(alive(call["pid"]) for call in calls(tmp_path, "start"))
    assert len(calls(tmp_path, "start")) == 3, "base; round 0's answers; its evaluation"
