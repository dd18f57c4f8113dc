"""The command line on a tiny experiment: recorded answers, a toy model, three rounds in a home that is made once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine.cli import app
from engine.home import Home

YAML = """\
experiment: tiny
description: recorded answers train a toy
rounds: 2
seed: 3
base:
  data: data/base.jsonl
  model: {hidden_size: 16, layers: 1, heads: 2, ffn: 16, vocabulary: 128, positions: 64}
  train: {max_steps: 3, batch_size: 4, learning_rate: 1e-3, max_length: 64}
prompts:
  train: data/train.jsonl
  gate: data/gate.jsonl
  test: data/test.jsonl
  per_round: 6
  fields: {template: "{question}", reference: answer}
generate: {backend: recorded, samples: 2, params: {path: data/answers.jsonl}}
score: [{verifier: exact, params: {pattern: 'Answer: (\\d+)'}}]
select: {sql: select/raft.sql, params: {top: 1}}
train:
  - {objective: sft, init: previous, reference: none, data: cumulative, max_steps: 2, batch_size: 4, learning_rate: 1e-3, max_length: 64}
evaluate: {backend: recorded, params: {path: data/answers.jsonl}, metrics: [mean, length], by_topic: false}
gate: {on_fail: stop, require: [{metric: mean, min_delta: 0.0}]}
compute: {device: cpu, threads: 1}
"""


def write(home: Home) -> None:
    """The experiment `tiny` with its data in <home>/experiments: every prompt has one right and one wrong answer."""
    data = home.experiments / "data"
    data.mkdir(parents=True, exist_ok=True)
    spans = {"train": range(24), "gate": range(100, 106), "test": range(200, 206), "base": range(300, 308)}
    questions = {split: [{"question": f"{n}+1=", "answer": str(n + 1)} for n in span] for split, span in spans.items()}
    rows: dict[str, list[dict[str, object]]] = {split: [dict(row) for row in found] for split, found in questions.items()}
    rows["base"] = [{**row, "response": f" Answer: {row['answer']}"} for row in questions["base"]]
    rows["answers"] = [
        {"prompt": row["question"], "response": [f" Answer: {row['answer']}", " Answer: 0"]}
        for split in ("train", "gate", "test")
        for row in questions[split]
    ]
    for name, found in rows.items():
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    (home.experiments / "tiny.yaml").write_text(YAML)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which `rondo run tiny` has finished. Copies only: tests must not write here."""
    home = Home(tmp_path_factory.mktemp("cli") / "home")
    write(home)
    result = CliRunner().invoke(app, ["run", "tiny", "--home", str(home.root)])
    assert result.exit_code == 0, result.output
    (home.root / "screen.txt").write_text(result.output)
    return home.root


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home, named by RONDO_HOME."""
    monkeypatch.setenv("RONDO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RONDO_LAKE", raising=False)
    monkeypatch.chdir(tmp_path)
    return Home.find()


@pytest.fixture
def ran(finished: Path, home: Home) -> Home:
    """`home` with the finished experiment."""
    shutil.copytree(finished, home.root)
    return home


@pytest.fixture
def rondo() -> Callable[..., Result]:
    """Runs a command as its words say; `.stdout`, `.stderr`, `.exit_code` of the result."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
