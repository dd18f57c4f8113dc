"""The engine that stays between steps: when it is closed, and what it keeps locked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.errors import LockError
from engine.locks import Lock
from engine.step import Device, Output, Step
from engine.warm import Warm

CPU, GPU = Device("cpu", 1, "float32"), Device("cuda:0", 1, "bfloat16")


@dataclass
class Engine:
    """An engine that writes down what becomes of it."""

    name: str
    story: list[str] = field(default_factory=list)
    alive: bool = True

    def close(self) -> None:
        self.story.append(f"{self.name} closed")
        self.alive = False


class Some(Step):
    """A step that does nothing."""

    table, part = None, ""

    def __init__(self, name: str, on_device: bool, keeps_warm: bool) -> None:
        self.name, self.on_device, self.keeps_warm = name, on_device, keeps_warm

    def reads(self, spec: Any, round_: int) -> list[Any]:
        return []

    def settings(self, spec: Any, round_: int, spec_path: Path) -> dict[str, Any]:
        return {}

    def run(self, ctx: Any) -> Output:
        raise NotImplementedError


GENERATE, TRAIN, SCORE = Some("generations", True, True), Some("checkpoint", True, False), Some("scores", False, False)


def free(folder: Path, device: str) -> bool:
    try:
        with Lock(folder, f"device-{device}", "another experiment"):
            return True
    except LockError:
        return False


def test_an_engine_is_started_once_and_again_only_for_another_key_or_when_it_is_dead() -> None:
    warm, story = Warm(), list[str]()

    def start(name: str) -> Any:
        story.append(f"{name} started")
        return Engine(name, story)

    first = warm.take("a", lambda: start("first"))
    assert warm.take("a", lambda: start("none")) is first
    second = warm.take("b", lambda: start("second"))
    assert story == ["first started", "first closed", "second started"], "both do not fit into memory"
    second.alive = False
    assert warm.take("b", lambda: start("third")) is not second
    warm.close()
    warm.close()
    assert story[3:] == ["second closed", "third started", "third closed"] and warm.key is None


@pytest.mark.parametrize("device", [CPU, GPU])
def test_it_stays_over_steps_that_leave_the_device_alone_and_goes_before_training(tmp_path: Path, device: Device) -> None:
    warm, engine = Warm(tmp_path), Engine("e")
    with warm.around(GENERATE, device):
        assert warm.take("a", lambda: engine) is engine
    with warm.around(SCORE, device), warm.around(GENERATE, device):
        assert engine.alive
    with warm.around(TRAIN, device):
        assert not engine.alive and engine.story == ["e closed"]


def test_an_error_in_a_step_ends_it_and_frees_the_device(tmp_path: Path) -> None:
    warm, engine = Warm(tmp_path), Engine("e")
    with pytest.raises(ZeroDivisionError), warm.around(GENERATE, GPU):
        warm.take("a", lambda: engine)
        raise ZeroDivisionError
    assert not engine.alive and free(tmp_path, "cuda:0")


def test_its_devices_stay_locked_while_it_lives(tmp_path: Path) -> None:
    warm, engine = Warm(tmp_path), Engine("e")
    with warm.around(GENERATE, GPU):
        warm.take("a", lambda: engine, ["cuda:1"])
        assert not free(tmp_path, "cuda:0") and not free(tmp_path, "cuda:1") and free(tmp_path, "cuda:2")
    with warm.around(SCORE, GPU):
        assert not free(tmp_path, "cuda:0") and not free(tmp_path, "cuda:1")
    with warm.around(TRAIN, GPU):
        assert not free(tmp_path, "cuda:0") and free(tmp_path, "cuda:1"), "training needs the first alone"
    assert free(tmp_path, "cuda:0")
    with warm.around(GENERATE, GPU):
        warm.take("a", lambda: Engine("other"))
        warm.close()
        assert not free(tmp_path, "cuda:0"), "the step under way still has its device"
    assert free(tmp_path, "cuda:0")
    with warm.around(GENERATE, CPU):
        assert free(tmp_path, "cpu"), "the CPU is shared"


def test_one_that_cannot_start_leaves_nothing_locked(tmp_path: Path) -> None:
    warm = Warm(tmp_path)
    with pytest.raises(OSError), warm.around(GENERATE, GPU):
        warm.take("a", lambda: (_ for _ in ()).throw(OSError()), ["cuda:1"])
    assert free(tmp_path, "cuda:0") and free(tmp_path, "cuda:1")


def test_a_second_experiment_of_the_process_does_not_wait_for_the_engine_of_the_first(tmp_path: Path) -> None:
    one, two, engine = Warm(tmp_path), Warm(tmp_path), Engine("e")
    with one.around(GENERATE, GPU):
        one.take("a", lambda: engine)
    with two.around(TRAIN, GPU):
        assert not engine.alive
