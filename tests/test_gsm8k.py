"""GSM8K's real rows through the loop, where the data is at hand: recorded answers, scores, selection, SQL."""

import json
from pathlib import Path

import pytest

from engine import Experiment

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not (DATA / "gsm8k_train.jsonl").is_file(), reason="GSM8K is not beside the project (../shared/data)")

SPEC = """\
experiment: recorded
extends: raft
rounds: 1
base:
  data: base.jsonl
  model: {{hidden_size: 16, layers: 1, heads: 2, ffn: 16, vocabulary: 400, positions: 1024}}
  train: {{max_steps: 1, batch_size: 2, learning_rate: 1e-3}}
prompts:
  train: {data}/gsm8k_train.jsonl
  gate: {{rows: 50, of: train}}
  test: {{rows: 50, of: train}}
  fields: {{template: "{{question}}", reference: answer, reference_pattern: '####\\s*(.+)'}}
generate: {{backend: recorded, samples: 2, params: {{path: answers.jsonl}}}}
score: [{{verifier: math}}]
train: [{{init: previous, reference: none, data: round, max_steps: 1, batch_size: 2}}]
evaluate: {{max_tokens: 4, metrics: [pass@1]}}
compute: {{threads: 1, device: cpu}}
"""


def test_a_round_with_recorded_answers_of_every_training_prompt(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (DATA / "gsm8k_train.jsonl").read_text().splitlines()]
    answers = [{"prompt": r["question"], "response": [r["answer"].rsplit("####", 1)[0] + "#### 123456789", r["answer"]]} for r in rows]
    base = [json.loads(line) for line in (DATA / "gsm8k_test.jsonl").read_text().splitlines()[:20]]
    for name, data in (("answers", answers), ("base", [row | {"response": row["answer"]} for row in base])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    (tmp_path / "recorded.yaml").write_text(SPEC.format(data=DATA))
    experiment = Experiment.load(tmp_path / "recorded.yaml", home=tmp_path / "home")
    experiment.run()
    prompts = len(rows) - 100
    assert prompts == 7373
    verdicts = experiment.sql("select verdict, sample, count(1) from scored group by all order by all").fetchall()
    assert verdicts == [("right", 1, prompts), ("wrong", 0, prompts)]
    kept = experiment.sql(
        "select count(1), count(distinct g.prompt_id), min(g.sample) from selected join generations g using (generation_id)"
    )
    assert kept.fetchall() == [(prompts, prompts, 1)]
    assert experiment.sql("select count(1) from history.prompts").fetchall() == [(100,)]
