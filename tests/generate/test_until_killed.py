"""SIGKILL in the middle of a wave, and between a wave and its verdicts: the next run ends with the same tables."""

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

place = sys.argv[2]

def deadly(kind, folder):
    append = kind.append

    def then(self, *given):
        append(self, *given)
        if place in str(folder(self)):
            os.kill(os.getpid(), signal.SIGKILL)

    kind.append = then

deadly(operators.Journal, lambda journal: journal.folder)
deadly(Lines, lambda lines: lines.path)
loop_home.load(Path(sys.argv[1])).run()
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    loop_home.write(folder, TEXT)
    experiment = loop_home.load(folder)
    experiment.run()
    return experiment


@pytest.mark.parametrize("place", ["wave-0001", "judged-0001"])
def test_a_killed_wave_goes_on(undisturbed, tmp_path, place):
    assert undisturbed.state().entries[0, "generations"].detail["waves"] == 3, "the test needs waves that go on"
    loop_home.write(tmp_path, TEXT)
    env = {"PYTHONPATH": f"{ROOT}:{ROOT}/tests", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", CODE, str(tmp_path), place], cwd=ROOT, env=env, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL
    folders = {path.name for path in (tmp_path / "journal" / "loop").glob("0-generations-*/*")}
    assert {"wave-0000", "judged-0000", "wave-0001"} <= folders and "wave-0002" not in folders
    experiment = loop_home.load(tmp_path)
    experiment.run()
    assert loop_home.contents(experiment.lake, "loop") == loop_home.contents(undisturbed.lake, "loop")
    assert not list((tmp_path / "journal").glob("loop/*"))
