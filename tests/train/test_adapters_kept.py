"""Checkpoints that are adapters: promoted, answered with and trained on over rounds, wherever the home and the base lie."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

import loop_home
from engine import adapters, gc, models
from engine.merge import folders
from train_small import CPU, sums, untrained

LORA = {"r": 2, "alpha": 8, "save": "adapter"}


def text(**more) -> str:
    spec = yaml.safe_load(loop_home.YAML)
    spec["train"][0] |= {"lora": LORA, "data": "round", "max_steps": 4}
    return yaml.safe_dump(spec | {"rounds": 2} | more)


def aged(home) -> None:
    for path in home.checkpoints.rglob("*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    for path in home.checkpoints.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)


def test_an_adapter_over_rounds_in_a_home_that_moves(tmp_path):
    loop_home.write(tmp_path / "here", text(gate={"on_fail": "continue"}))
    experiment = loop_home.load(tmp_path / "here")
    experiment.run(until=0)
    base, one = experiment.checkpoint(-1), experiment.checkpoint(0)
    assert adapters.find(one.path).base == base.path and one.row["parents"] == [base.digest]
    assert json.loads((one.path / "adapter_config.json").read_text())["base_model_name_or_path"] == f"../{base.digest}"
    assert json.loads((one.path / "rondo.json").read_text())["base"] == base.digest
    assert experiment.state().policy(1) == one.digest  # promoted as an adapter
    answers = experiment.lake.read("generations", experiment="loop", rounds=[0], part="eval")
    assert set(answers["model"].to_pylist()) == {one.digest}  # and answered with unmerged
    os.rename(tmp_path / "here", tmp_path / "there")
    experiment = loop_home.load(tmp_path / "there")
    experiment.run()
    two = experiment.checkpoint(1)
    assert two.row["parents"] == [one.digest] and adapters.find(two.path).base == experiment.checkpoint(-1).path
    assert models.digest(experiment.checkpoint(0).path) == one.digest
    aged(experiment.home)
    assert gc.collect(experiment.home, experiment.lake, hours=0).checkpoints == []
    rollouts = experiment.lake.read("generations", experiment="loop", rounds=[1], part="rollout")
    assert set(rollouts["model"].to_pylist()) == {one.digest}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> Path:
    rows = [{"messages": [{"content": f"{n}+1= Answer: {n + 1}"}]} for n in range(100)]
    return untrained(tmp_path_factory.mktemp("model") / "theirs", [*sums(), *rows])


@pytest.mark.slow
def test_an_imported_base_is_linked_by_its_digest(tmp_path, theirs):
    digests = []
    for name in ("a", "b"):  # the same model, in two places
        model = tmp_path / f"elsewhere-{name}"
        shutil.copytree(theirs, model)
        spec = yaml.safe_load(text(rounds=1, models={"policy": str(model)}))
        del spec["base"]
        loop_home.write(tmp_path / name, yaml.safe_dump(spec))
        experiment = loop_home.load(tmp_path / name)
        experiment.run()
        link = experiment.home.checkpoints / models.digest(theirs)
        assert link.is_symlink() and adapters.find(experiment.checkpoint(0).path).base == link
        digests.append(experiment.checkpoint(0).digest)
    assert digests[0] == digests[1]
    aged(experiment.home)
    (experiment.home.checkpoints / "stray").symlink_to(theirs)
    os.utime(experiment.home.checkpoints / "stray", (0, 0), follow_symlinks=False)
    report = gc.collect(experiment.home, experiment.lake, hours=0)
    assert [Path(path).name for path in report.checkpoints] == ["stray"]
    assert link.is_symlink() and models.check(theirs) is None
    models.load(experiment.checkpoint(0).path, CPU)


@pytest.mark.slow
def test_arms_that_are_adapters_merge_into_a_whole_model(tmp_path):
    spec = yaml.safe_load(text(rounds=1))
    arm = spec["train"][0]
    spec["train"] = [arm | {"role": "arm-a"}, arm | {"role": "arm-b", "lora": LORA | {"r": 3, "variant": "dora"}}]
    spec["merge"] = [{"method": "task_arithmetic", "of": ["arm-a", "arm-b"], "base": "base", "weights": [0.5, 0.5]}]
    loop_home.write(tmp_path, yaml.safe_dump(spec))
    experiment = loop_home.load(tmp_path)
    experiment.run()
    arms = [experiment.checkpoint(0, role) for role in ("arm-a", "arm-b")]
    assert all(adapters.is_adapter(one.path) for one in arms) and not adapters.is_adapter(experiment.checkpoint(0).path)
    from safetensors.torch import load_file

    whole = [folders.whole(one.digest, one.path, one.digest, tmp_path / "whole").path for one in arms]
    tensors = [load_file(path / "model.safetensors") for path in whole]
    for name, made in load_file(experiment.checkpoint(0).path / "model.safetensors").items():
        assert (made - (tensors[0][name] + tensors[1][name]) / 2).abs().max() < 1e-5
    assert not list((tmp_path / "journal" / "loop").glob("*"))
