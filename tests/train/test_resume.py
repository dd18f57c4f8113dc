import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine import models
from engine.errors import StepError
from engine.spec import Lora
from train_small import Events, job, sft, sums, untrained

ROOT = Path(__file__).parents[2]
# Killed while the state of step 8 is being written, at the latest when step 10 ends.
KILLED = """
import os, signal, sys, threading
from pathlib import Path
from train_small import Events, job, sft

folder, model = Path(sys.argv[1]), Path(sys.argv[2])

class Die(Events):
    def advance(self, rows):
        super().advance(rows)
        if self.steps == 10:
            os.kill(os.getpid(), signal.SIGKILL)

def watch():
    while not (folder / "state/.partial/checkpoint-8").exists():
        pass
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=watch, daemon=True).start()
sft(job(folder, model, epochs=2, progress=Die()))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, model):
    return sft(job(tmp_path_factory.mktemp("whole"), model, epochs=2))


def test_a_killed_training_goes_on_and_gives_the_same_weights(tmp_path, model, undisturbed):
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(model)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()[-2000:]
    assert not (tmp_path / "out").exists()
    # Whatever the kill left: half a state that looks like a later one must not be used.
    half = tmp_path / "state" / ".partial" / "checkpoint-11"
    shutil.rmtree(half.parent, ignore_errors=True)
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"\x00" * 100)
    events = Events()
    trained = sft(job(tmp_path, model, epochs=2, progress=events))
    resumed_at = trained.detail["resumed_at"]
    assert resumed_at in (4, 8)
    assert events.began == [("checkpoint", 12, resumed_at, "steps")]
    assert events.steps == 12 - resumed_at
    assert models.digest(trained.folder) == models.digest(undisturbed.folder)
    assert (trained.row_ids, trained.loss) == (undisturbed.row_ids, undisturbed.loss)


def test_an_adapter_with_dropout_goes_on_as_if_nothing_had_happened(tmp_path, model):
    lora = Lora(r=2, dropout=0.3)
    whole = sft(job(tmp_path / "whole", model, lora=lora))
    with pytest.raises(KeyboardInterrupt):
        sft(job(tmp_path / "cut", model, lora=lora, progress=Events(stop_at=6)))
    again = sft(job(tmp_path / "cut", model, lora=lora))
    assert again.detail == {"resumed_at": 4}
    assert models.digest(again.folder) == models.digest(whole.folder)
    assert again.loss == whole.loss


def test_a_selections_order_outlives_a_kill(tmp_path, model):
    rows = sums()
    for i, one in enumerate(rows):
        one["order"] = float(i * 7 % 24)
    whole = sft(job(tmp_path / "whole", model, rows, epochs=2, order="selected"))
    wanted = [one["row_id"] for one in sorted(rows, key=lambda one: one["order"])]
    assert whole.row_ids == wanted * 2
    with pytest.raises(KeyboardInterrupt):
        sft(job(tmp_path / "cut", model, rows, epochs=2, order="selected", progress=Events(stop_at=10)))
    again = sft(job(tmp_path / "cut", model, rows, epochs=2, order="selected"))
    assert again.detail == {"resumed_at": 8} and again.row_ids == whole.row_ids
    assert models.digest(again.folder) == models.digest(whole.folder)


def test_a_training_that_had_ended_does_no_step_again(tmp_path, model, undisturbed):
    sft(job(tmp_path, model, epochs=2))
    shutil.rmtree(tmp_path / "out")
    events = Events()
    trained = sft(job(tmp_path, model, epochs=2, progress=events))
    assert events.steps == 0
    assert models.digest(trained.folder) == models.digest(undisturbed.folder)
    assert trained.row_ids == undisturbed.row_ids


def test_a_state_of_other_rows_is_refused(tmp_path, model):
    with pytest.raises(KeyboardInterrupt):
        sft(job(tmp_path, model, progress=Events(stop_at=5)))
    other = job(tmp_path, model)
    other.seed += 1
    with pytest.raises(StepError, match="not how this training begins"):
        sft(other)
