import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine import models
from engine.errors import SpecError, StepError
from engine.parts.continuing import EarlyStop
from engine.train import heldout, objective, objectives
from engine.train.encode import Encoder
from engine.train.heldout import Look
from pairs_small import fit, pairs_job
from train_small import CPU, Events, job, selected, settings, sft, sums, untrained

ROOT = Path(__file__).parents[2]
IDS = [f"row{i}" for i in range(4000)]
STOPS = {"epochs": 8, "learning_rate": 0.05, "log_every": 5, "hold_out": {"share": 0.25, "every": 2, "patience": 2}}
KILLED = """
import json, os, signal, sys
from pathlib import Path
from train_small import Events, job, sft

class Die(Events):
    def advance(self, rows):
        super().advance(rows)
        if self.steps == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

sft(job(Path(sys.argv[1]), Path(sys.argv[2]), progress=Die(), **json.loads(sys.argv[4])))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, model):
    return sft(job(tmp_path_factory.mktemp("whole"), model, **STOPS))


def mean_loss(path, rows):
    """Negative log-likelihood of the target tokens of a batch, a token."""
    loaded, tokenizer = models.load(path, CPU)
    total, tokens = 0.0, 0
    for example in Encoder(tokenizer, mask="assistant", chat=None, ends=[], limit=64).encode(selected(rows)):
        with torch.no_grad():
            logps = loaded(torch.from_numpy(example.ids)[None]).logits[0].double().log_softmax(-1)
        targets = [i for i in range(1, len(example.ids)) if example.weights[i]]
        total -= sum(logps[i - 1, example.ids[i]].item() for i in targets)
        tokens += len(targets)
    return total / tokens


def test_a_row_is_held_out_by_its_id_whatever_comes_with_it():
    out = {IDS[i] for i in heldout.held(IDS, 0.05, 7)}
    assert 150 < len(out) < 250
    assert {IDS[i] for i in heldout.held(IDS, 0.1, 7)} > out
    some = IDS[1000:1100]
    assert {some[i] for i in heldout.held(some, 0.05, 7)} == out & set(some)
    assert {IDS[i] for i in heldout.held(IDS, 0.05, 8)} != out


def test_few_rows_still_hold_one_out_and_never_all():
    five = IDS[:5]
    (one,) = heldout.held(five, 1e-9, 7)
    assert {IDS[i] for i in heldout.held(IDS[:50], 1e-9, 7)} & set(five) <= {five[one]}
    with pytest.raises(StepError, match="all of the 1 rows"):
        heldout.held(["a"], 0.5, 7)


def test_when_the_losses_say_stop():
    how = EarlyStop(patience=2, min_delta=0.1)
    looks = [Look(i, loss, 0.0) for i, loss in enumerate([3.0, 2.0, 1.95, 1.5, 1.45, 1.41, 1.0])]
    assert [heldout.over(looks[:n], how) for n in range(1, 8)] == [False, False, False, False, False, True, False]
    assert heldout.best(looks[:6], how).step == 3
    assert not any(heldout.over(looks[:n], EarlyStop(patience=2)) for n in range(1, 8))


def test_a_training_stops_and_keeps_the_best_weights(undisturbed, model):
    trained, detail = undisturbed, undisturbed.detail
    out = {sums()[i]["row_id"] for i in heldout.held([row["row_id"] for row in sums()], 0.25, 5)}
    assert detail["held_out"] == len(out) and not out & set(trained.row_ids)
    assert detail["stopped_early"] and detail["kept_step"] < detail["steps_run"] < 8 * 5
    assert detail["kept_step"] == trained.steps and trained.rows_trained == trained.rows_expected
    looks = {row["step"]: row["value"] for row in trained.log if row["metric"] == "held_out/loss"}
    assert sorted(looks) == list(range(2, detail["steps_run"] + 1, 2))
    assert min(looks, key=looks.__getitem__) == detail["kept_step"] == detail["steps_run"] - 4  # two looks of patience
    rows = [row for row in sums() if row["row_id"] in out]
    rows.sort(key=lambda row: row["row_id"])
    batches = [rows[i : i + 4] for i in range(0, len(rows), 4)]
    by_hand = sum(mean_loss(trained.folder, batch) * len(batch) for batch in batches) / len(rows)
    assert looks[detail["kept_step"]] == pytest.approx(by_hand, rel=1e-5)
    assert max(row["step"] for row in trained.log if row["metric"] == "loss") == detail["steps_run"]
    assert len({(row["step"], row["metric"]) for row in trained.log}) == len(trained.log)


def test_the_last_weights_are_kept_where_the_spec_says_so(tmp_path, model, undisturbed):
    last = sft(job(tmp_path, model, **(STOPS | {"hold_out": STOPS["hold_out"] | {"keep": "last"}})))
    assert last.steps == last.detail["kept_step"] == last.detail["steps_run"] == undisturbed.detail["steps_run"]
    assert last.row_ids[: undisturbed.rows_trained] == undisturbed.row_ids
    assert models.digest(last.folder) != models.digest(undisturbed.folder)


def test_looking_changes_nothing_of_the_training(tmp_path, model):
    """With dropout, whose draws a look could disturb."""
    more = {"epochs": 2, "lora": {"r": 2, "dropout": 0.4}}
    often, once = (
        sft(job(tmp_path / str(every), model, hold_out={"share": 0.25, "every": every, "patience": 99, "keep": "last"}, **more))
        for every in (1, 10)
    )
    assert (often.steps, often.row_ids, often.loss) == (once.steps, once.row_ids, once.loss)
    assert models.digest(often.folder) == models.digest(once.folder)


@pytest.mark.parametrize("before_the_end", [0, 3])
def test_a_killed_training_stops_where_an_undisturbed_one_does(tmp_path, model, undisturbed, before_the_end):
    at = undisturbed.detail["steps_run"] - before_the_end
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(model), str(at), json.dumps(STOPS)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()[-2000:]
    again = sft(job(tmp_path, model, progress=Events(), **STOPS))
    assert 0 < again.detail.pop("resumed_at") < at
    assert again.detail == undisturbed.detail and json.dumps(again.log) == json.dumps(undisturbed.log)
    assert (again.row_ids, again.loss) == (undisturbed.row_ids, undisturbed.loss)
    assert models.digest(again.folder) == models.digest(undisturbed.folder)


def test_an_objective_that_answers_prompts_has_no_rows_to_hold_out():
    with pytest.raises(SpecError, match="answers prompts itself"):
        objective(settings(objective="grpo", hold_out={}))


def test_pairs_are_held_out_too_also_in_parts(tmp_path, model):
    more = {"hold_out": {"share": 0.3, "every": 1, "patience": 9}, "epochs": 1}
    whole, cut = (fit(pairs_job(tmp_path / str(size), model, micro_batch=size, **more)) for size in (None, 1))
    looks = [[row["value"] for row in one.log if row["metric"] == "held_out/loss"] for one in (whole, cut)]
    assert whole.detail["held_out"] + len(set(whole.row_ids)) <= 16 and len(looks[0]) == whole.detail["steps_run"]
    assert looks[0] == pytest.approx(looks[1], rel=1e-4) and whole.row_ids == cut.row_ids
    assert looks[0][-1] < looks[0][0]  # what trains on some pairs helps the others


def test_an_objective_that_plans_its_batches_holds_nothing_out(tmp_path, model):
    with pytest.raises(StepError, match="the objective sftmix plans its batches itself"):
        objectives.load("sftmix")().train(job(tmp_path, model, objective="sftmix", hold_out={}))
