"""A home with a tiny experiment whose answers are recorded: two rounds cost seconds, and only a two-layer toy is trained."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance

from engine.experiment import Experiment
from engine.home import Home

YAML = """\
experiment: tiny-loop
rounds: {rounds}
seed: 3
base:
  data: data/base.jsonl
  model: {{hidden_size: 16, layers: 1, heads: 2, ffn: 16, vocabulary: 128, positions: 64}}
  train: {{max_steps: 3, batch_size: 4, learning_rate: 1e-3, max_length: 64}}
prompts:
  train: data/train.jsonl
  gate: data/gate.jsonl
  test: data/test.jsonl
  per_round: 6
  fields: {{template: "{{question}}", reference: answer}}
generate: {{backend: recorded, samples: 2, params: {{path: data/answers.jsonl}}}}
score: [{{verifier: exact, params: {{pattern: 'Answer: (\\d+)'}}}}]
select: {{sql: select/raft.sql}}
train:
  - role: policy
    objective: sft
    init: previous
    reference: none
    data: cumulative
    max_steps: 2
    batch_size: 4
    learning_rate: 1e-3
    max_length: 64
evaluate: {{backend: recorded, params: {{path: data/answers.jsonl}}, metrics: [mean], by_topic: false}}
gate: {{on_fail: stop, require: [{{metric: mean, {condition}}}]}}
compute: {{device: cpu, threads: 1}}
"""


def write(home: Home, rounds: int = 2, condition: str = "min_delta: 0.0") -> Path:
    """The experiment with its data in <home>/experiments; the path of its YAML."""
    data = home.experiments / "data"
    data.mkdir(parents=True, exist_ok=True)
    spans = {"train": range(24), "gate": range(100, 106), "test": range(200, 206), "base": range(300, 308)}
    questions = {split: [{"question": f"{n}+1=", "answer": str(n + 1)} for n in span] for split, span in spans.items()}
    questions["base"] = [row | {"response": f" Answer: {row['answer']}"} for row in questions["base"]]
    answers = [
        {"prompt": row["question"], "response": [f" Answer: {row['answer']}", " Answer: 0"]}
        for split in ("train", "gate", "test")
        for row in questions[split]
    ]
    for name, rows in {**questions, "answers": answers}.items():
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = home.experiments / "tiny-loop.yaml"
    path.write_text(YAML.format(rounds=rounds, condition=condition))
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home with the tiny experiment of two rounds after the base."""
    monkeypatch.setenv("RONDO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RONDO_LAKE", raising=False)
    found = Home.find(tmp_path / "home")
    write(found)
    return found


@pytest.fixture(scope="session")
def headless_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which base and round 000 of the tiny experiment were run without Dagster."""
    found = Home(tmp_path_factory.mktemp("headless") / "home")
    write(found)
    Experiment.load("tiny-loop", home=found).run(until=0)
    return found.root


@pytest.fixture
def ran(headless_home: Path, home: Home) -> Home:
    """`home` with base and round 000 done headless."""
    shutil.copytree(headless_home, home.root, dirs_exist_ok=True)
    return home


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    """A Dagster instance on disk that ends with the test."""
    folder = tmp_path / "instance"
    folder.mkdir()
    with DagsterInstance.local_temp(str(folder), overrides={"telemetry": {"enabled": False}}) as found:
        yield found


@pytest.fixture
def rewrite(home: Home) -> Callable[..., Path]:
    """Writes the tiny experiment again with other rounds or another gate condition."""
    return lambda **changes: write(home, **changes)
