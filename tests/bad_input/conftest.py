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


@pytest.fixture(scope="session")
def begun(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it in which the experiment `bad` is done up to the scores of round 0, where its selection failed."""
    folder = tmp_path_factory.mktemp("begun") / "home"
    shutil.copytree(finished, folder)
    result = CliRunner().invoke(
        app, ["run", str(Bench(folder).spec), "select.sql=select/raft.sql", "select.params={min_score: 9}", "--home", str(folder)]
    )
    assert result.exit_code == 1 and "chose nothing" in result.stderr, result.output
    return folder


def _bench(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    home = folder / "home"
    shutil.copytree(source, home)
    monkeypatch.setenv("RONDO_HOME", str(home))
    monkeypatch.delenv("RONDO_LAKE", raising=False)
    monkeypatch.chdir(folder)
    return Bench(home)


@pytest.fixture
def bench(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A copy of `finished`, named by RONDO_HOME, with a sound experiment `bad` that a test breaks."""
    return _bench(finished, tmp_path, monkeypatch)


@pytest.fixture
def open_round(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The same of `begun`."""
    return _bench(begun, tmp_path, monkeypatch)


@pytest.fixture
def rondo() -> Callable[..., Result]:
    """Runs a command in this process; an exception that the command line does not turn into a message is raised."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
