"""A whole tiny experiment whose policy trains online: what lies in the lake, and what nobody else may see of it."""

import json

import pytest

import loop_home
from engine.graph import graph

TRAIN = """\
train:
  - {objective: grpo, init: previous, reference: previous, data: round, max_steps: 4, batch_size: 6, learning_rate: 1e-2,
     max_length: 64, save_every: 3, params: {beta: 0.04}}
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    head, _, tail = loop_home.YAML.partition("train:\n  - {init")
    text = head.replace("select: {sql: select/random.sql, params: {per_prompt: 1}}\n", "") + TRAIN + tail.partition("\n")[2]
    loop_home.write(folder, text)
    found = loop_home.load(folder, "rounds=1")
    found.run()
    return found


def rows(experiment, table, part, round_=0):
    return experiment.lake.read(table, experiment="loop", rounds=[round_], part=part).to_pylist()


def test_what_nobody_reads_is_not_made(experiment):
    steps = graph(experiment.spec, 0, experiment.path).steps
    assert not {"generations", "selected", "score", "scores_math"} & set(steps)
    base = graph(experiment.spec, -1, experiment.path)
    assert {key[0] for key in base.steps["checkpoint"].fills(-1)} == {"checkpoints", "trained_rows", "training_log"}
    assert {file.part for file in experiment.lake.files("generations", experiment="loop", rounds=[-1])} == {"eval"}


def test_answers_and_scores_lie_in_the_part_train(experiment):
    answers = {row["generation_id"]: row for row in rows(experiment, "generations", "train")}
    assert len(answers) == 4 * 6 * 4
    assert {file.part for file in experiment.lake.files("generations", experiment="loop", rounds=[0])} == {"train", "eval"}
    for part in ("math", "format", "score"):
        assert {row["item_id"] for row in rows(experiment, "scores", f"train/{part}")} == set(answers)
    by = {
        part: {row["item_id"]: row["value"] for row in rows(experiment, "scores", f"train/{part}")} for part in ("math", "format", "score")
    }
    assert all(by["score"][name] == by["math"][name] + by["format"][name] for name in answers)
    assert {name: json.loads(row["meta"])["reward"] for name, row in answers.items()} == by["score"]
    trained = [row["row_id"] for row in rows(experiment, "trained_rows", "policy")]
    checkpoint = experiment.checkpoint(0).row
    assert set(trained) == set(answers)
    assert len(trained) == checkpoint["rows_expected"] == checkpoint["rows_trained"] == 96


def test_bare_names_never_show_them(experiment):
    for table in ("generations", "scored", "scores"):
        assert experiment.sql(f"select count(*) from {table}").fetchall() == [(0,)]
    assert experiment.sql("select count(*) from lake.scored").fetchall() == [(0,)]
    assert experiment.sql("select distinct answers, pass_rate from lake.rounds where round = 0").fetchall() == [(None, None)]


def test_a_checkpoint_leads_to_the_answers_that_trained_it(experiment):
    found = experiment.sql(
        "select row_id, generation_id, times, score, verdict, question, answer, written_by, reason, role from lake.lineage where round = 0"
    ).fetchall()
    answers = {row["generation_id"]: row for row in rows(experiment, "generations", "train")}
    scores = {row["item_id"]: row["value"] for row in rows(experiment, "scores", "train/score")}
    assert len(found) == len(answers)
    for name, generation, times, score, verdict, question, answer, author, reason, role in found:
        assert (name, times, role) == (generation, 1, "policy")
        assert (score, answer, author) == (scores[name], answers[name]["response"], experiment.checkpoint(-1).digest)
        assert verdict
        assert question.endswith("+1=")
        assert reason.startswith("advantage ")


def test_costs_stand_with_the_step_that_sampled(experiment):
    spent = experiment.sql("select part, answers, tokens_per_second > 0 from lake.spend where kind = 'generation' and round = 0").fetchall()
    assert sorted(part for part, *_ in spent) == ["eval", "train"]
    assert next(row for row in spent if row[0] == "train")[1:] == (96, True)
    steps = experiment.sql("select step, tokens from lake.step_costs where round = 0 and step = 'checkpoint'").fetchall()
    assert steps == [("checkpoint", experiment.checkpoint(0).row["tokens"])]
