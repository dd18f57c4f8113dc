"""Dropped prompts, plans and clusters through what a person does: run again, reopen, fork, compare, clean up."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import flat_home
import loop_home
from engine import gc
from engine.home import Home
from engine.report.diff import diff
from engine.views import SQL

TABLES = ("prompts_dropped", "plan", "clusters", "cluster_stats", "embeddings")
MORE = """
cluster: [{name: asked, k: 2}]
plan: [{name: heat, sql: heat.sql}]
"""
HEAT = """-- The share of each cluster so far.
SELECT 'share' AS key, cluster_id::VARCHAR AS item_id, count(*) / 4 AS value, 'of the round' AS reason
FROM clusters GROUP BY cluster_id
"""
CHOOSE = """-- Every answer with a plan for its cluster, the largest share first.
SELECT scored.prompt_id, scored.generation_id, (plan.value::DOUBLE) AS "order"
FROM scored
INNER JOIN clusters ON clusters.item_id = scored.prompt_id
INNER JOIN plan ON plan.item_id = clusters.cluster_id::VARCHAR
WHERE scored.score >= $least
"""


def write(folder: Path) -> None:
    text = flat_home.YAML.partition("stages:")[0] + MORE
    text = text.replace("select: {sql: select/raft.sql}", "select: {sql: choose.sql, params: {least: 1}}")
    text = text.replace("  per_round: 4\n", "  per_round: 4\n  hygiene: {min_words: 1, max_words: 6}\n")
    text = text.replace("stop: {metric: mean, x: rows, tau: 0.06, min_points: 3, patience: 1}\n", "").replace("rounds: 5", "rounds: 2")
    text = text.replace(
        "max_steps: 1, batch_size: 4, learning_rate: 1e-3, max_length: 64}\nevaluate",
        "order: selected, batch_size: 2, max_length: 64}\nevaluate",
    )
    flat_home.write(folder, text)
    for name, query in {"heat": HEAT, "choose": CHOOSE}.items():
        (folder / "experiments" / f"{name}.sql").write_text(query)
    with (folder / "experiments" / "data" / "train.jsonl").open("a") as file:
        file.write('{"question": "what is one and one and one more =", "answer": "3"}\n')


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which two rounds with all of these tables ran."""
    folder = tmp_path_factory.mktemp("tables")
    write(folder)
    flat_home.load(folder).run()
    yield folder


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    shutil.copytree(finished, tmp_path / "home")
    return tmp_path / "home"


def test_every_table_has_rows_of_every_round(finished: Path) -> None:
    lake = flat_home.load(finished).lake
    for table in TABLES:
        assert set(lake.read(table, experiment="flat")["round"].to_pylist()) == {0, 1}, table
    assert set(lake.read("prompts_dropped", experiment="flat")["rule"].to_pylist()) == {"length"}


def test_rows_train_in_the_order_of_the_selection(finished: Path) -> None:
    lake = flat_home.load(finished).lake
    for round_ in (0, 1):
        rows = lake.read("selected", experiment="flat", rounds=[round_]).to_pylist()
        trained = sorted(lake.read("trained_rows", experiment="flat", rounds=[round_]).to_pylist(), key=lambda row: row["position"])
        wanted = [row["row_id"] for row in sorted(rows, key=lambda row: (row["order"], row["row_id"]))]
        assert [row["row_id"] for row in trained] == wanted and len(wanted) == 4


def test_another_order_is_another_training(home: Path) -> None:
    changed = flat_home.load(home, "train.0.order=random")
    assert {r: [v.step for v in changed.state().drift(r)] for r in (0, 1)} == {0: ["checkpoint"], 1: ["checkpoint"]}


def test_run_again_and_reopen(home: Path) -> None:
    experiment = flat_home.load(home)
    before, attempts = loop_home.contents(experiment.lake, "flat"), loop_home.attempts(experiment.lake, "flat")
    assert experiment.run() == []
    experiment.run(first=0)
    after = loop_home.attempts(experiment.lake, "flat")
    assert {step for (r, step) in attempts if attempts[r, step] != after[r, step]} == {"opening", "promotion"}
    kept = {key: value for key, value in loop_home.contents(experiment.lake, "flat").items() if not key.startswith("promotions")}
    assert kept == {key: value for key, value in before.items() if key in kept}


def test_a_fork_takes_them_along_and_gc_keeps_them(home: Path) -> None:
    experiment = flat_home.load(home)
    forked = experiment.fork(0, "branch")
    for table in TABLES:
        rounds = forked.lake.read(table, experiment="branch")["round"].to_pylist()
        assert set(rounds) == {0} and len(rounds) == experiment.lake.read(table, experiment="flat", rounds=[0]).num_rows, table
    forked.run()
    report = gc.collect(Home(home), forked.lake, hours=0)
    assert set(TABLES) <= set(report.kept_versions)
    mine, theirs = (loop_home.contents(flat_home.load(home).lake, name) for name in ("flat", "branch"))
    same = [key for key in mine if key.partition("/")[0] in TABLES]
    assert same and all(mine[key] == theirs[key] for key in same)
    counts = diff("flat", "branch", Home(home)).rows["prompts_dropped"]
    assert counts == {"both": 1, "left_only": 0, "right_only": 0}


def test_the_shipped_queries_answer_about_them(finished: Path) -> None:
    experiment = flat_home.load(finished)
    story = experiment.sql((SQL / "queries/why.sql").read_text(), prompt="train.jsonl:21", prompts=3, experiment="flat").fetchall()
    assert [(row[2], row[3]) for row in story] == [(1, "dropped")] and "train.jsonl:21" in story[0][6]
    what = {
        row[3] for row in experiment.sql((SQL / "queries/why.sql").read_text(), prompt="+1=", prompts=100, experiment="flat").fetchall()
    }
    assert {"drawn", "cluster asked", "answer", "number exact", "selected", "trained policy"} <= what
