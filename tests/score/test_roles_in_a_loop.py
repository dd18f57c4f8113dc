"""Models that train in the loop and judge in it: which checkpoint reads, in what order, over two rounds, also after a kill."""

from __future__ import annotations

import os
import time

import pytest

import heads_tiny
import loop_home
from engine import gc, graph
from engine.check import check
from engine.errors import SpecError
from engine.experiment import Experiment
from engine.home import Home
from engine.lake import Lake
from engine.report.lineage import lineage
from engine.report.status import status
from engine.train.planned import Planned
from score import roles_home
from test_kill import kill_and_finish


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roles")
    roles_home.write(folder)
    loop_home.load(folder).run()
    return folder


def digest(loop: Experiment, role: str, round_: int) -> str:
    return loop.checkpoint(round_, role).row["digest"]


def test_each_step_comes_after_the_model_that_it_needs(home):
    loop = loop_home.load(home)
    order = list(graph.graph(loop.spec, 0, loop.path).steps)
    for chain in (
        ("scores_math", "score", "pairs_reward", "checkpoint_reward", "scores_rm", "selected", "checkpoint"),
        ("score", "selected_coach", "checkpoint_coach", "checkpoint_estimator", "compare_estimator"),
        ("checkpoint_coach", "scores_fit"),
    ):
        assert [order.index(step) for step in chain] == sorted(order.index(step) for step in chain)
    steps, edges = graph.union(loop.spec, loop.path)
    assert "checkpoint_reward" in edges["scores_rm"] and "checkpoint_reward" not in edges["scores_earlier"] and set(edges) == set(steps)


def test_numbers_are_those_of_the_round_s_own_checkpoint_or_of_the_one_before(home):
    loop = loop_home.load(home)
    for round_ in (0, 1):
        query = """
        select s.*, p.messages as asked from lake.scored s join lake.prompts p using (experiment, round, prompt_id)
        where s.round = $round order by s.generation_id limit 4
        """
        rows = loop.sql(query, round=round_).pl().to_dicts()
        folders = {"rm": home / "checkpoints" / digest(loop, "reward", round_)}
        folders["earlier"] = home / "checkpoints" / digest(loop, "reward", 0) if round_ else home / "experiments" / "rm"
        for row in rows:
            shown = row["asked"][0]["content"] + row["response"]
            for column, folder in folders.items():
                assert row[column] == pytest.approx(heads_tiny.plain(folder, shown)[0], abs=0.00051), (round_, column)


def test_the_policy_trains_on_what_the_reward_model_likes(home):
    rows = loop_home.load(home).sql(
        """
        select s.rm, max(o.rm) as best from lake.selected l
        join lake.scored s on s.experiment = l.experiment and s.round = l.round and s.generation_id = l.generation_id
        join lake.scored o on o.experiment = l.experiment and o.round = l.round and o.prompt_id = l.prompt_id
        where l.part = 'policy' and l.round >= 0 group by l.round, l.row_id, s.rm
        """
    )
    found = rows.pl().to_dicts()
    assert len(found) == 24 and all(row["rm"] == row["best"] for row in found)


def test_a_role_goes_on_from_its_own_or_another_s_checkpoint(home):
    loop = loop_home.load(home)
    base = loop.checkpoint(-1).row["digest"]
    assert [loop.checkpoint(r, "reward").row["parents"] for r in (0, 1)] == [[base], [digest(loop, "reward", 0)]]
    assert [loop.checkpoint(r, "estimator").row["parents"] for r in (0, 1)] == [[digest(loop, "coach", r)] for r in (0, 1)]
    carried = loop.sql("select distinct source_round from lake.pairs where part = 'reward' and round = 1 order by 1").fetchall()
    assert [row[0] for row in carried] == [0, 1]
    metrics = loop.sql("select distinct part, metric from lake.training_log where round = 1").fetchall()
    assert {("reward", "accuracy"), ("reward", "margin"), ("estimator", "position_bias")} <= set(metrics)


def test_the_preference_model_judges_with_doubt(home):
    rows = loop_home.load(home).sql("select * from lake.preferences where \"order\" <> 'both'").pl().to_dicts()
    judged = [row for row in rows if row["votes"]]
    assert judged and {row["round"] for row in rows} == {0, 1}
    assert all(0 < row["probability"] < 1 for row in judged) and any(row["uncertainty"] > 0 for row in judged)


def test_the_gate_and_the_policy_know_nothing_of_other_roles(home):
    loop = loop_home.load(home)
    assert {row[0] for row in loop.sql("select distinct role from lake.promotions").fetchall()} == {"policy"}
    assert [row["state"] for row in status(loop).rounds] == ["closed"] * 3
    assert [loop.state().policy(r) for r in (0, 1)] == [loop.checkpoint(-1).row["digest"], digest(loop, "policy", 0)]


def test_lineage_of_a_role_leads_to_its_own_rows(home, monkeypatch):
    monkeypatch.chdir(home)
    loop = loop_home.load(home)
    found = lineage(digest(loop, "coach", 1), Home(home))
    assert (found.checkpoint["role"], found.checkpoint["round"]) == ("coach", 1)
    own = loop.sql("select row_id from lake.selected where part = 'coach' and round = 1").fetchall()
    assert found.summary["distinct_rows"] == len(own) and found.summary["generations"] > 0
    reward = loop.sql("select row_id from lake.trained_rows where part = 'reward' and round = 1").fetchall()
    pairs = loop.sql("select row_id from lake.pairs where part = 'reward' and round = 1").fetchall()
    assert {row[0] for row in reward} == {row[0] for row in pairs} and len(pairs) > 0


def test_gc_keeps_what_a_role_goes_on_from(home):
    lake, loop = Lake(str(home / "lake")), loop_home.load(home)
    kept = {digest(loop, role, r) for role in ("policy", "reward", "estimator", "coach") for r in (0, 1)}
    old = time.time() - 9e5
    for path in (home / "checkpoints").rglob("*"):
        os.utime(path, (old, old))
    assert gc.collect(Home(home), lake, hours=0).checkpoints == []
    assert kept <= {path.name for path in (home / "checkpoints").iterdir()}
    assert [v.state for r in (-1, 0, 1) for v in loop.state().round_plan(r) if v.state != "done"] == []


@pytest.mark.slow
def test_a_run_that_breaks_while_a_role_trains_goes_on_to_the_same_tables(home, tmp_path, monkeypatch):
    """Once in the second step of each of the three other roles' first trainings."""
    roles_home.write(tmp_path)
    took, broken = Planned.took, set()

    def breaks(self, number, loss, numbers):
        took(self, number, loss, numbers)
        role = self.how.role if hasattr(self.how, "role") else ""
        if role in ("reward", "estimator", "coach") and role not in broken and number == 2:
            broken.add(role)
            raise KeyboardInterrupt

    monkeypatch.setattr(Planned, "took", breaks)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            loop_home.load(tmp_path, "rounds=1").run()
    loop_home.load(tmp_path, "rounds=1").run()
    assert broken == {"reward", "estimator", "coach"}
    whole, again = (loop_home.contents(Lake(str(folder / "lake")), "loop") for folder in (home, tmp_path))
    assert again == {part: value for part, value in whole.items() if "/1/" not in part}


@pytest.mark.slow
def test_a_run_killed_three_times_ends_as_one_that_was_not(home, tmp_path):
    roles_home.write(tmp_path)
    assert kill_and_finish(tmp_path, 3, 20, seed=5) > 0
    assert loop_home.contents(Lake(str(tmp_path / "lake")), "loop") == loop_home.contents(Lake(str(home / "lake")), "loop")


STARS = "-- All columns.\nSELECT prompt_id, generation_id AS chosen_id, generation_id AS rejected_id FROM (SELECT * FROM scored)\n"
CHANGES = [
    (
        "model: reward}",
        "model: rewards}",
        r"the model 'rewards'; expected policy, base or a folder(.|\n)*that trains: reward or reward-last",
    ),
    ("first: rm, ", "", r"train\.first: 'reward-last' is .* an earlier round, and round 0 has none(.|\n)*for reward"),
    ("first: rm, ", "first: base, ", r"train\.first: base has no head"),
    ("model: coach", "model: reward", r"the model 'reward': expected one with words, but .* reward_model trains one with a head"),
    ("model: reward}", "model: coach}", r"the model 'coach': expected one with a head, but .* sft trains one with words"),
    ("model: reward}", "model: estimator}", r"reads two answers at once .* and is to read one answer at a time"),
    ("model: reward}", "model: reward, template: 'Q {prompt} A {response}'}", r"the role reward trains with chat None and template None"),
    ("model: reward}", "model: reward, heads: [a, b]}", r"the head of 'reward' has 1 outputs, expected 2"),
    ("model: estimator,", "model: estimator, first_label: 1,", r"the role behind 'estimator' trains output 0"),
    (
        "objective: sft, init: previous, reference: none, data: round, max",
        "objective: sft, init: reward, reference: none, data: round, max",
        r"the role reward trains a head with reward, and sft needs one that gives words",
    ),
    ("sql: pairs/best_worst.sql", "sql: stars.sql", r"in a circle: (.|\n)*checkpoint_reward(.|\n)*<role>-last"),
    ("sql: pairs/best_worst.sql", "sql: pairs/best_worst.sql, params: {scorer: rm}", r"in a circle: (.|\n)*checkpoint_reward"),
]


@pytest.mark.parametrize(("old", "new", "message"), CHANGES)
def test_what_cannot_work_stops_before_any_work(tmp_path, old, new, message):
    text = roles_home.text(flow=True)
    assert old in text
    path = roles_home.write(tmp_path, text.replace(old, new))
    (path.parent / "stars.sql").write_text(STARS)
    loop = loop_home.load(tmp_path)
    with pytest.raises(SpecError, match=message):
        check(loop.spec, loop.path)
    assert not (tmp_path / "lake").exists()


def test_held_out_answers_are_never_read_by_a_model_that_trains(tmp_path):
    roles_home.write(tmp_path, roles_home.text().replace("combine: math + format", "combine: math"))
    loop = loop_home.load(tmp_path, "score=[{verifier: math}, {measure: reward_model, name: judge, params: {model: reward}}]")
    with pytest.raises(SpecError, match=r"score \(judge\): it is to be read by the role reward(.|\n)*put it under `measure`"):
        check(loop.spec, loop.path)


def test_a_name_means_one_thing(tmp_path):
    path = roles_home.write(tmp_path)
    (path.parent / "reward").mkdir()
    loop = loop_home.load(tmp_path)
    with pytest.raises(SpecError, match="'reward' is a role of `train` and a folder beside the spec"):
        check(loop.spec, loop.path)
