"""A tiny experiment whose gate accuracy is recorded: 0.7, 0.8, 0.85 after 4, 8 and 16 rows trained, then 0.875 and 0.9.

The power law through the first three has the asymptote 0.9, so the gain left is 0.05 after round 2.
"""

from __future__ import annotations

import json
from pathlib import Path

from engine.experiment import Experiment

RIGHT = (28, 32, 34, 35, 36)  # right answers to 40 gate prompts, by round
YAML = """\
experiment: flat
rounds: 5
seed: 3
base:
  data: data/base.jsonl
  model: {hidden_size: 16, layers: 1, heads: 2, ffn: 16, vocabulary: 128, positions: 64}
  train: {max_steps: 1, batch_size: 4, learning_rate: 1e-3, max_length: 64}
prompts:
  train: data/train.jsonl
  gate: data/gate.jsonl
  per_round: 4
  fields: {template: "{question}", reference: answer}
generate: {backend: recorded, samples: 1, params: {path: data/answers0.jsonl}}
score: [{verifier: exact, params: {pattern: 'Answer: (\\d+)'}}]
select: {sql: select/raft.sql}
train:
  - {objective: sft, init: previous, reference: none, data: round, max_steps: 1, batch_size: 4, learning_rate: 1e-3, max_length: 64}
evaluate: {backend: recorded, params: {path: data/answers0.jsonl}, metrics: [mean], by_topic: false}
stop: {metric: mean, x: rows, tau: 0.06, min_points: 3, patience: 1}
compute: {device: cpu, threads: 1}
stages:
  - {rounds: '1', evaluate: {params: {path: data/answers1.jsonl}}}
  - {rounds: '2', evaluate: {params: {path: data/answers2.jsonl}}, train: [TWO]}
  - {rounds: '3', evaluate: {params: {path: data/answers3.jsonl}}, train: [FOUR]}
  - {rounds: '4', evaluate: {params: {path: data/answers4.jsonl}}, train: [FOUR]}
"""
TRAIN = "{init: previous, reference: none, data: round, batch_size: 4, learning_rate: 1e-3, max_length: 64, max_steps: %d}"


def write(folder: Path, text: str = YAML) -> Path:
    """The experiment with its data in <folder>/experiments; the path of its YAML."""
    data = folder / "experiments" / "data"
    data.mkdir(parents=True, exist_ok=True)
    spans = {"train": range(20), "gate": range(100, 140), "base": range(300, 304)}
    asked = {split: [{"question": f"{n}+1=", "answer": str(n + 1)} for n in span] for split, span in spans.items()}
    asked["base"] = [row | {"response": f" Answer: {row['answer']}"} for row in asked["base"]]
    rows = dict(asked)
    for round_, right in enumerate(RIGHT):
        said = [(row, True) for row in asked["train"]] + [(row, i < right) for i, row in enumerate(asked["gate"])]
        rows[f"answers{round_}"] = [{"prompt": row["question"], "response": [f" Answer: {row['answer'] if ok else 0}"]} for row, ok in said]
    for name, found in rows.items():
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    path = folder / "experiments" / "flat.yaml"
    path.write_text(text.replace("TWO", TRAIN % 2).replace("FOUR", TRAIN % 4))
    return path


def load(folder: Path, *overrides: str, name: str = "flat") -> Experiment:
    """The experiment of `write`, with its home in <folder>."""
    return Experiment.load(folder / "experiments" / f"{name}.yaml", overrides, home=folder)
