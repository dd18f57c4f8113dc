"""Several actors in one round: whole experiments on a tiny real model, each trained row led back to who wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import loop_home
from engine import sqlfile
from engine.errors import DataError
from engine.experiment import Experiment
from engine.query import Session, Window
from engine.step import BASE

ACTORS = [
    {"name": "policy", "samples": 2},
    {"name": "before", "model": "policy-1", "samples": 2},
    {"name": "cold", "model": "base", "temperature": 0.25, "samples": 1, "share": 0.5},
    {"name": "gold", "backend": "gold", "params": {"form": " Answer: {gold}"}},
    {"name": "told", "backend": "recorded", "params": {"path": "told.jsonl", "missing": "skip", "take": "all"}},
]
SELECT = {"sql": "select/by_actor.sql", "params": {"min_score": 0.0}}


def _home(folder: Path, actors: list[dict], *more: str, name: str = "loop") -> Experiment:
    """The tiny experiment with these actors; every third prompt has recorded answers."""
    loop_home.write(folder, name=name)
    told = [{"prompt": f"{n}+1=", "response": [f" Answer: {n + 1}", f" {n}"][: 1 + n % 2]} for n in range(0, 90, 3)]
    (folder / "experiments" / "told.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    return loop_home.load(folder, f"generate.actors={json.dumps(actors)}", f"select={json.dumps(SELECT)}", *more, name=name)


def _ask(made: Experiment, name: str, **params) -> list[dict]:
    file = sqlfile.read(sqlfile.find(f"queries/{name}"))
    return Session(made.lake, Window(), threads=1).table(file.text, file.bind(params)).to_pylist()


def _sql(experiment: Experiment, text: str) -> list[dict]:
    return Session(experiment.lake, Window(), threads=1).table(text, {}).to_pylist()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Experiment]:
    """Three rounds with five actors."""
    experiment = _home(tmp_path_factory.mktemp("mixed"), ACTORS)
    experiment.run()
    yield experiment


def test_each_actor_answers_with_its_own_model_samples_and_share(mixed):
    rows = _sql(mixed, "select round, actor, model, prompt_id, sample, temperature from lake.generations where part = 'rollout'")
    policies = {r["round"]: r["content_hash"] for r in _sql(mixed, "select round, content_hash from lake.steps where step = 'policy'")}
    base = mixed.checkpoint(BASE).digest
    models = {
        r: {"policy": {policies[r]}, "before": {policies[max(0, r - 1)]}, "cold": {base}, "gold": {"gold"}, "told": {"recorded"}}
        for r in range(3)
    }
    assert policies[0] == base and policies[2] != base  # policy-1 of round 0 is the base
    for round_, expected in models.items():
        found = [r for r in rows if r["round"] == round_]
        assert {actor: {r["model"] for r in found if r["actor"] == actor} for actor in expected} == expected
        counts = {actor: sum(r["actor"] == actor for r in found) for actor in ("policy", "before", "cold", "gold")}
        assert counts == {"policy": 48, "before": 48, "cold": 12, "gold": 24}
        assert {r["temperature"] for r in found if r["actor"] == "cold"} == {0.25}
    assert len({tuple(r[c] for c in ("round", "actor", "prompt_id", "sample")) for r in rows}) == len(rows)


def test_prompts_without_recorded_answers_are_listed(mixed):
    found = _ask(mixed, "unanswered", experiment="loop")
    told = {(r["round"], r["question"]): r["why"] for r in found if r["actor"] == "told"}
    asked = _sql(mixed, "select round, messages[-1].content as question from lake.prompts where part = 'train'")
    questions = {(r["round"], r["question"]) for r in asked}
    assert set(told) == {(r, q) for r, q in questions if int(q.removesuffix("+1=")) % 3} and set(told.values()) == {"no answer"}
    assert sum(r["actor"] == "cold" and r["why"] == "not asked" for r in found) == 36
    assert {r["actor"] for r in found} == {"told", "cold"}
    details = _sql(mixed, "select detail from lake.steps where step = 'generations' order by round")
    counts = [json.loads(row["detail"])["actors"]["told"] for row in details]
    assert [c["prompts_skipped"] for c in counts] == [sum(r == n for r, _ in told) for n in range(3)]
    given = {f"{n}+1=": 1 + n % 2 for n in range(0, 90, 3)}
    matched = [sum(given.get(q, 0) for r, q in questions if r == n) for n in range(3)]
    assert [(c["answers_unmatched"], c["answers_unused"]) for c in counts] == [(sum(given.values()) - n, 0) for n in matched]


def test_every_trained_row_has_exactly_one_actor(mixed):
    rows = _sql(
        mixed,
        """
        select t.round, t.position, t.row_id, any_value(r.origin) as origin,
            list(distinct g.actor) as actors, list(distinct l.actor) as told
        from lake.trained_rows as t
        join lake.selected as r on r.experiment = t.experiment and r.round = t.round and r.row_id = t.row_id
        left join lake.generations as g on g.experiment = r.experiment and g.round = r.source_round and g.generation_id = r.generation_id
        left join lake.lineage as l on l.experiment = t.experiment and l.round = t.round and l.row_id = t.row_id
        group by t.round, t.position, t.row_id
        """,
    )
    trained = mixed.lake.read("trained_rows", experiment="loop").num_rows
    assert len(rows) == trained > 0
    for row in rows:
        assert len(row["told"]) == 1 and row["told"][0] is not None
        if row["origin"] == "generation":
            assert row["actors"] == row["told"]
    late = {row["told"][0] for row in rows if row["round"] == 2}
    assert late == {"policy", "before", "cold", "gold", "told"}


def test_rows_by_actor_add_up_to_what_trained(mixed):
    found = _ask(mixed, "trained_by_actor", experiment="loop")
    for round_ in range(3):
        own = [r for r in found if r["round"] == round_]
        checkpoint = mixed.checkpoint(round_)
        assert sum(r["rows"] for r in own) == checkpoint.row["rows_trained"]
        assert sum(r["share"] for r in own) == pytest.approx(1)
        by = {r["actor"]: r for r in own}
        assert by["policy"]["tokens"] > 0 and by["told"]["tokens"] is None
        assert by["gold"]["mean_score"] is not None
    assert found == _ask(mixed, "trained_by_actor", experiment="loop")


def test_stages_change_who_answers(tmp_path):
    experiment = _home(tmp_path, ACTORS[:1], "rounds=2", f"stages={json.dumps([{'rounds': '1-', 'generate': {'actors': ACTORS[2:4]}}])}")
    experiment.run()
    found = _sql(experiment, "select distinct round, actor from lake.generations where part = 'rollout' order by all")
    assert [tuple(r.values()) for r in found] == [(0, "policy"), (1, "cold"), (1, "gold")]


def test_an_answer_that_is_nowhere_is_known_before_a_model_answers(tmp_path: Path) -> None:
    told = {"name": "told", "backend": "recorded", "params": {"path": "told.jsonl", "take": "all"}}
    experiment = _home(tmp_path, [{"name": "policy", "samples": 1}, told])
    with pytest.raises(DataError, match="have no recorded answer"):
        experiment.run()
    assert experiment.state().entries[0, "prompts"] and not list((tmp_path / "journal" / "loop").glob("0-generations-*/policy"))
