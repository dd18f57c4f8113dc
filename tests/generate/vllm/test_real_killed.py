"""SIGKILL at ten random moments of a step that answers with vLLM itself: `make test-vllm RONDO_VLLM_PYTHON=/path/to/python`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import SpecError
from engine.generate import backends
from engine.warm import Warm
from generate.conformance.known import Vllm
from generate.conformance.rigs import Rig
from generate.conformance.test_killed import Runs, check, finish, journal
from generate_tiny import save

pytestmark = pytest.mark.vllm


class Real(Vllm):
    """vLLM itself. Its attention on a CPU needs heads of 32 numbers or more."""

    in_flight = 0  # nobody counts its requests from outside

    def __init__(self, folder: Path) -> None:
        Rig.__init__(self, folder)
        self.model = save(folder / "model", hidden_size=64, num_attention_heads=2, num_key_value_heads=2, intermediate_size=96)
        self.warm = Warm(logs=folder)

    def params(self) -> dict[str, Any]:
        return {"python": os.environ.get("RONDO_VLLM_PYTHON"), "max_running": 4, "kv_cache_gb": 1}


@pytest.fixture
def runs() -> Iterator[Runs]:
    made = Runs()
    yield made
    made.close()


def test_a_step_killed_ten_times_ends_as_one_that_was_not(runs: Runs, tmp_path: Path) -> None:
    kind = backends.load("vllm")
    try:
        kind.check(kind.Params(python=os.environ.get("RONDO_VLLM_PYTHON")), tmp_path / "spec.yaml")
    except SpecError as error:
        pytest.skip(f"{error.message}; name one by RONDO_VLLM_PYTHON")
    rig = Real(tmp_path / "rig")
    whole = finish(runs, rig, tmp_path / "undisturbed", 0)
    check(runs, rig, tmp_path / "killed", (whole, journal(tmp_path / "undisturbed")[0]), kills=10, seed=4)
