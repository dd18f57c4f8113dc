"""SIGKILL in the middle of a wave, and between a wave and its verdicts: the next run ends with the same tables.

With a cap and a ceiling, at any moment: no more is asked than an undisturbed run asks.
"""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import loop_home

TEXT = loop_home.YAML.replace("rounds: 3", "rounds: 1").replace("samples: 4,", "until: {right: 2, bar: 0.5, cap: 6, wave: 2},")
ROOT = Path(__file__).parents[2]
CODE = """
import os, signal, sys
from pathlib import Path
import loop_home
from engine import operators
from engine.lines import Lines

import killed_run

place, left = sys.argv[2], int(sys.argv[3])

def deadly(kind, folder):
    append = kind.append

    def then(self, *given):
        global left
        append(self, *given)
        left -= place in str(folder(self))
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    kind.append = then

deadly(operators.Journal, lambda journal: journal.folder)
deadly(Lines, lambda lines: lines.path)
killed_run.main(Path(sys.argv[1]), "loop")
"""
CEILING = 420


def _start(folder, place, moment):
    """A run that dies when it has kept batch number `moment` of those whose folder has `place` in its name."""
    env = {"PYTHONPATH": f"{ROOT}:{ROOT}/tests", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CODE, str(folder), place, str(moment)]
    return subprocess.run(command, cwd=ROOT, env=env, timeout=900, check=False, stdout=subprocess.DEVNULL).returncode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    loop_home.write(folder, TEXT)
    experiment = loop_home.load(folder)
    experiment.run()
    return experiment


@pytest.mark.parametrize("place", ["wave-0001", pytest.param("judged-0001", marks=pytest.mark.slow)])
def test_a_killed_wave_goes_on(undisturbed, tmp_path, place):
    assert undisturbed.state().entries[0, "generations"].detail["waves"] == 3, "the test needs waves that go on"
    loop_home.write(tmp_path, TEXT)
    assert _start(tmp_path, place, 1) == -signal.SIGKILL
    folders = {path.name for path in (tmp_path / "journal" / "loop").glob("0-generations-*/*")}
    assert {"wave-0000", "judged-0000", "wave-0001"} <= folders and "wave-0002" not in folders
    experiment = loop_home.load(tmp_path)
    experiment.run()
    assert loop_home.contents(experiment.lake, "loop") == loop_home.contents(undisturbed.lake, "loop")
    assert not list((tmp_path / "journal").glob("loop/*"))


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """An undisturbed run under a ceiling of tokens."""
    folder = tmp_path_factory.mktemp("limited")
    loop_home.write(folder, _limited())
    experiment = loop_home.load(folder)
    experiment.run()
    return experiment


def _limited():
    return TEXT.replace("max_tokens: 8, batch: 16}", f"max_tokens: 8, batch: 16, ceiling: {CEILING}}}", 1)


def _killed_at_random(limited, folder, seed, kills):
    detail = limited.state().entries[0, "generations"].detail
    assert detail["answers_not_asked"] > 0 and CEILING - 8 < detail["ceiling"]["spent"] <= CEILING, "the test needs a ceiling that is met"
    loop_home.write(folder, _limited())
    dice = random.Random(seed)
    struck = sum(_start(folder, "0-generations-", dice.randint(1, 5)) == -signal.SIGKILL for _ in range(kills))
    assert struck, "the test needs a kill"
    experiment = loop_home.load(folder)
    experiment.run()
    assert loop_home.contents(experiment.lake, "loop") == loop_home.contents(limited.lake, "loop")
    rows = experiment.lake.read("generations", experiment="loop", rounds=[0], part="rollout")
    prompts = rows["prompt_id"].to_pylist()
    assert max(prompts.count(prompt) for prompt in set(prompts)) <= 6
    assert sum(rows["response_tokens"].to_pylist()) == detail["ceiling"]["spent"]
    # whatever was asked before a kill is asked in the undisturbed run too
    names = set(zip(prompts, rows["sample"].to_pylist(), strict=True))
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    asked = {tuple(key.rsplit("/", 1)) for call in calls if call["journal"].startswith("piece-") for key in call["keys"]}
    assert asked and {(prompt, int(sample)) for prompt, sample in asked} <= names


@pytest.mark.slow
def test_killed_twice_under_a_ceiling(limited, tmp_path):
    _killed_at_random(limited, tmp_path, seed=1, kills=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_killed_again_and_again_under_a_ceiling(limited, tmp_path, seed):
    _killed_at_random(limited, tmp_path, seed, kills=5)
