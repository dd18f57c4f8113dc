import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine import models
from engine.rows import content_hash
from online_small import TWICE, online, run
from train_small import Events, untrained

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=["grpo", "rloo"])
def undisturbed(request, tmp_path_factory, model):
    return request.param, run(online(tmp_path_factory.mktemp("whole"), model, request.param, **TWICE))


def killed(folder, model, name, *when):
    process = subprocess.run(
        [sys.executable, "tests/online_killed.py", str(folder), str(model), name, *map(str, when)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()[-2000:]
    assert not (folder / "out" / "model.safetensors").exists()


# step 3 is in the middle of the first block: its answers train again, although the weights that gave them are no more
@pytest.mark.parametrize(("when", "resumed"), [(("step", 3), 2), pytest.param(("sample", 1), 4, marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_and_gives_the_same(tmp_path, model, undisturbed, when, resumed):
    name, whole = undisturbed
    killed(tmp_path, model, name, *when)
    events = Events()
    trained = run(online(tmp_path, model, name, progress=events, **TWICE))
    assert events.began == [("checkpoint", 8, resumed, "steps")]
    assert trained.detail["resumed_at"] == resumed
    assert models.digest(trained.folder) == models.digest(whole.folder)
    assert (trained.row_ids, trained.loss, trained.tokens, trained.log) == (whole.row_ids, whole.loss, whole.tokens, whole.log)
    for (table, part), rows in whole.tables.items():
        assert content_hash(table, trained.tables[table, part]) == content_hash(table, rows)
        assert rows.num_rows == 64


def test_answers_of_a_past_block_that_are_gone_are_not_made_anew(tmp_path, model, undisturbed):
    from engine.errors import StepError

    name, _ = undisturbed
    with pytest.raises(KeyboardInterrupt):
        run(online(tmp_path, model, name, progress=Events(stop_at=7), **TWICE))
    (tmp_path / "journal" / "rollouts" / "000000" / "learned.json").unlink()
    with pytest.raises(StepError, match="the answers of optimizer step 1 are gone") as caught:
        run(online(tmp_path, model, name, **TWICE))
    assert "remove the journal folder" in str(caught.value)
