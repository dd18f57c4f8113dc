"""A home in which a tiny experiment ran its rounds; broken experiments are tried beside it through the real command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import loop_home
from bad_home import Bench
from engine.cli import app


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the experiment `loop` ran its two rounds."""
    folder = tmp_path_factory.mktemp("finished")
    loop_home.write(folder, loop_home.YAML.replace("rounds: 3", "rounds: 2"))
    result = CliRunner().invoke(app, ["run", "loop", "--home", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def bench(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A copy of it, named by RONDO_HOME, with a sound experiment `bad` that a test breaks."""
    home = tmp_path / "home"
    shutil.copytree(finished, home)
    monkeypatch.setenv("RONDO_HOME", str(home))
    monkeypatch.delenv("RONDO_LAKE", raising=False)
    monkeypatch.chdir(tmp_path)
    return Bench(home)


@pytest.fixture
def rondo() -> Callable[..., Result]:
    """Runs a command in this process; an exception that the command line does not turn into a message is raised."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
