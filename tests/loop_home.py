"""A tiny experiment that really generates and trains: a 16-wide Llama on sums, a second or two a round."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from engine.experiment import Experiment
from engine.lake import Lake
from engine.rows import content_hash, own_columns
from engine.tables import TABLES

YAML = """\
experiment: loop
rounds: 3
seed: 3
base:
  data: data/base.jsonl
  model: {hidden_size: 16, layers: 1, heads: 2, ffn: 16, vocabulary: 160, positions: 64}
  train: {max_steps: 8, batch_size: 8, learning_rate: 1e-2, max_length: 64, save_every: 3}
prompts:
  train: data/train.jsonl
  gate: data/gate.jsonl
  test: data/test.jsonl
  per_round: 24
  fields: {template: "{question}", reference: answer, topic: topic}
generate: {samples: 4, max_tokens: 8, batch: 16}
score: [{verifier: math}, {verifier: regex, name: format, params: {pattern: 'Answer'}}]
combine: math + format
select: {sql: select/random.sql, params: {per_prompt: 1}}
train:
  - {init: previous, reference: none, data: cumulative, max_steps: 8, batch_size: 8, learning_rate: 1e-2, max_length: 64, save_every: 3}
evaluate: {metrics: [pass@1, mean, length], max_tokens: 8}
compute: {device: cpu, threads: 1}
"""


def write(folder: Path, text: str = YAML, name: str = "loop") -> Path:
    """The experiment with its data in <folder>/experiments; the path of its YAML."""
    data = folder / "experiments" / "data"
    data.mkdir(parents=True, exist_ok=True)
    spans = {"train": range(90), "gate": range(100, 110), "test": range(200, 210), "base": range(300, 340)}
    for split, span in spans.items():
        rows = [{"question": f"{n}+1=", "answer": str(n + 1), "topic": "odd" if n % 2 else "even"} for n in span]
        if split == "base":
            rows = [row | {"response": f" Answer: {row['answer']}"} for row in rows]
        (data / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "experiments" / f"{name}.yaml"
    path.write_text(text.replace("experiment: loop", f"experiment: {name}"))
    return path


def load(folder: Path, *overrides: str, name: str = "loop") -> Experiment:
    """The experiment of `write`, with its home in <folder>."""
    return Experiment.load(folder / "experiments" / f"{name}.yaml", overrides, home=folder)


def contents(lake: Lake, experiment: str) -> dict[str, str]:
    """Content hash of every part of an experiment but the ledger."""
    found = {}
    for table in TABLES:
        for file in lake.files(table, experiment=experiment):
            if table != "steps":
                rows = own_columns(lake.read(table, experiment=experiment, rounds=[file.round], part=file.part))
                found[f"{table}/{file.round}/{file.part}"] = content_hash(table, rows)
    return found


def attempts(lake: Lake, experiment: str) -> dict[tuple[int, str], str]:
    """The attempt that committed each step: unchanged where a step did not run again."""
    rows: pa.Table = lake.read("steps", experiment=experiment, columns=["step", "attempt"])
    return {(row["round"], row["step"]): row["attempt"] for row in rows.to_pylist()}
