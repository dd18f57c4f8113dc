"""A round whose answers are code and a round whose answers are SQL: verdicts in `scores`, selection by them, a second run that reuses."""

import json

import pytest

from engine import Experiment
from engine.check import check
from engine.errors import StepError
from engine.score import make
from engine.score.sandbox import jail
from engine.spec import Scorer
from loop_home import attempts

pytestmark = pytest.mark.usefixtures("jail")

YAML = """\
experiment: coded
rounds: 1
seed: 3
base:
  data: data/base.jsonl
  model: {hidden_size: 16, layers: 1, heads: 2, ffn: 16, vocabulary: 160, positions: 512}
  train: {max_steps: 1, batch_size: 2, learning_rate: 1e-3, max_length: 256}
prompts:
  train: data/train.jsonl
  gate: data/gate.jsonl
  FIELDS
generate: {backend: recorded, samples: 4, params: {path: data/answers.jsonl}}
SCORE
select: {sql: select/raft.sql}
train: [{init: previous, reference: none, data: round, max_steps: 1, batch_size: 2, learning_rate: 1e-3, max_length: 256}]
evaluate: {backend: recorded, params: {path: data/answers.jsonl}, metrics: [mean], by_topic: false}
compute: {device: cpu, threads: 1}
"""
CODE = {
    "FIELDS": 'fields: {template: "{prompt}"}',
    "SCORE": "score:\n  - {verifier: code_tests, params: {seconds: 0.2, workers: 2}}\n"
    "  - {verifier: code_tests, name: passed, params: {value: share, seconds: 0.2}}\ncombine: passed",
}
SQL = {
    "FIELDS": 'fields: {template: "{schema}\\n{question}", reference: query, keep: [schema]}',
    "SCORE": "score: [{verifier: sql_query, params: {seconds: 1, workers: 1}}]",
}


def write(folder, parts, rows, answers):
    """The experiment, with its first two prompts for training and the others for the gate."""
    data = folder / "experiments" / "data"
    data.mkdir(parents=True)
    base = [{**row, "response": "x"} for row in rows[:2]]
    files = {"train": rows[:2], "gate": rows[2:], "base": base, "answers": answers}
    for name, found in files.items():
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    text = YAML
    for name, part in parts.items():
        text = text.replace(name, part)
    path = folder / "experiments" / "coded.yaml"
    path.write_text(text)
    return path


def coded(n):
    """A task like HumanEval's, and four answers: right, wrong in one of two tests, no Python, endless."""
    prompt = f'def add{n}(x):\n    """ Adds {n}. """\n'
    tests = f"def check(candidate):\n    assert candidate(0) == {n}\n    assert candidate(1) == {n + 1}\n"
    row = {"task_id": f"t/{n}", "prompt": prompt, "entry_point": f"add{n}", "test": tests}
    answers = [f"    return x + {n}\n", f"```python\ndef add{n}(x):\n    return {n}\n```", "    return (", "    while True: pass\n"]
    return row, {"prompt": prompt.strip(), "response": answers}


def test_code(tmp_path):
    pairs = [coded(n) for n in range(1, 5)]
    path = write(tmp_path, CODE, [row for row, _ in pairs], [answers for _, answers in pairs])
    experiment = Experiment.load(path, home=tmp_path)
    experiment.run()
    found = experiment.sql(
        """select distinct g.sample, s.scorer, s.value, s.verdict, s.runner in ('jail', 'monty', 'jail+monty'), s.seconds >= 0, s.detail
        from scores s join generations g on g.generation_id = s.item_id where s.scorer != 'score' order by all"""
    ).fetchall()
    # the two prompts of the round differ in the details alone
    seen = {(sample, scorer): (value, verdict, ran, timed) for sample, scorer, value, verdict, ran, timed, _ in found}
    assert seen == {
        (0, "code_tests"): (1.0, "right", True, True),
        (0, "passed"): (1.0, "right", True, True),
        (1, "code_tests"): (0.0, "wrong", True, True),
        (1, "passed"): (0.5, "wrong", True, True),
        (2, "code_tests"): (0.0, "unparseable", True, True),
        (2, "passed"): (0.0, "unparseable", True, True),
        (3, "code_tests"): (0.0, "timeout", True, True),
        (3, "passed"): (0.0, "timeout", True, True),
    }
    details = {(sample, scorer): detail for sample, scorer, *_, detail in found if detail and "candidate(1) == 2" in detail}
    assert details == {
        (1, "code_tests"): "assert candidate(1) == 2: found 1",
        (1, "passed"): "1 of 2 tests passed; test 2: assert candidate(1) == 2: found 1",
    }
    assert experiment.sql("select count(*), min(score), max(score) from scored").fetchall() == [(8, 0.0, 1.0)]
    kept = experiment.sql("select count(*), max(g.sample) from selected join generations g using (generation_id)").fetchall()
    assert kept == [(2, 0)]
    before = attempts(experiment.lake, "coded")
    experiment.run()
    assert attempts(experiment.lake, "coded") == before


def test_without_a_jail_nothing_starts_and_the_error_says_what_to_install(tmp_path, monkeypatch):
    row, answers = coded(1)
    path = write(tmp_path, CODE, [row], [answers])
    monkeypatch.setattr("shutil.which", lambda name: None)
    jail.probe.cache_clear()
    try:
        experiment = Experiment.load(path, home=tmp_path)
        with pytest.raises(StepError, match="apt-get install bubblewrap"):
            check(experiment.spec, path)
        make(Scorer(verifier="code_tests", params={"sandbox": "none"})).check()
    finally:
        jail.probe.cache_clear()


def test_sql(tmp_path):
    schema = "create table t (a int, b text); insert into t values (1, 'x'), (2, 'y'), (3, 'x');"
    queries = ["select a from t where b = 'x'", "select a from t", "select b from t", "select count(*) from t"]
    rows = [{"question": f"Question {n}", "query": query, "schema": schema} for n, query in enumerate(queries)]
    answers = [
        {
            "prompt": f"{schema}\n{row['question']}",
            "response": [f"```sql\n{row['query']} order by 1 desc\n```", "select 7", "drop table t", "?!"],
        }
        for row in rows
    ]
    experiment = Experiment.load(write(tmp_path, SQL, rows, answers), home=tmp_path)
    experiment.run()
    found = experiment.sql(
        """select distinct g.sample, s.value, s.verdict, s.runner from scores s join generations g on g.generation_id = s.item_id
        where s.scorer = 'sql_query' order by all"""
    ).fetchall()
    assert found == [(0, 1.0, "right", "jail"), (1, 0.0, "wrong", "jail"), (2, 0.0, "wrong", "jail"), (3, 0.0, "unparseable", "jail")]
    assert experiment.sql("select count(*) from selected").fetchall() == [(2,)]
