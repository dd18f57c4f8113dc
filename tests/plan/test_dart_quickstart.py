"""DART's two budgets on the quickstart's pool, end to end: what is asked, what is taken, and what is missing, with known pass rates."""

import json
from functools import cache

import pytest
import yaml

import stand_in
from engine import sqlfile, starters
from engine.experiment import Experiment
from engine.query import Session, Window
from engine.starters.problems import problems
from stand_in import Script

WRONG = " 1+1=2. Answer: 999"
SMALL = {
    "rounds": 1,
    "base": {"train": {"max_steps": 1}},
    "evaluate": {"backend": "stand_in"},
    "gate": {"require": []},
    "train": [{"role": "policy", "objective": "sft", "init": "previous", "reference": "none", "data": "round", "max_steps": 1}],
}


@cache
def _solutions():
    """The solution of each prompt of the pool."""
    return {f"Question: {row.question}\nSolution:": row.solution for row in problems()["train"]}


@pytest.fixture
def script(monkeypatch):
    made = Script()
    monkeypatch.setattr(stand_in, "script", made)
    return made


def _run(folder, script, prompts, right, extends, generate, **parts):
    """An experiment over the shipped `extends`, whose round has `prompts` prompts; `right(step, prompt's place, number)` says
    which answers are right. The experiment, and the prompts' ids in that order."""
    home = folder / "experiments"
    starters.create("quickstart", home)
    parts = {"prompts": {"per_round": prompts}, "generate": {"backend": "stand_in", **generate}} | parts
    (home / "own.yaml").write_text(yaml.safe_dump({"experiment": "own", "extends": extends} | SMALL | parts))
    places: dict[str, int] = {}

    def answer(step, question, number, most):
        if step == "eval_generations":
            return WRONG, 1
        return _solutions()[question] if right(step, places.setdefault(question, len(places)), number) else WRONG, 1

    script.answer = answer
    experiment = Experiment.load(home / "own.yaml", home=folder)
    experiment.run()
    rows = experiment.lake.read("prompts", experiment="own", rounds=[0], part="train").to_pylist()
    ids = {row["messages"][-1]["content"]: row["prompt_id"] for row in rows}
    return experiment, [ids[question] for question in places]


def _counts(experiment, table, part, ids):
    found = experiment.lake.read(table, experiment="own", rounds=[0], part=part)["prompt_id"].to_pylist()
    return [found.count(prompt) for prompt in ids]


def _budgets(experiment, ids):
    """(trials, corrects, target, deficit) of each prompt, by the shipped query."""
    file = sqlfile.read(sqlfile.find("queries/budgets"))
    rows = Session(experiment.lake, Window()).table(file.text, file.bind({"experiment": "own"})).to_pylist()
    found = {row["prompt_id"]: tuple(row[name] for name in ("trials", "corrects", "target", "deficit")) for row in rows}
    return [found[prompt] for prompt in ids]


def _told(experiment):
    detail = experiment.state().entries[0, "generations"].detail
    return {name: detail[name] for name in ("trials", "right", "prompts_short", "deficit_right")}


def test_uniform_takes_the_first_right_answers_and_reports_the_deficit(tmp_path, script):
    right = [lambda n: False, lambda n: n == 9, lambda n: n != 3]
    experiment, ids = _run(
        tmp_path,
        script,
        3,
        lambda step, place, number: right[place](number),
        "quickstart-dart.yaml",
        {"until": {"bar": 1.0, "cap": 12, "wave": 6}},
        plan=[{"name": "dart", "sql": "plan/dart_uniform.sql", "params": {"right": 2}}],
    )
    assert _counts(experiment, "generations", "rollout", ids) == [12, 12, 6], "never more than the cap; the third is done in one wave"
    assert _budgets(experiment, ids) == [(12, 0, 2, 2), (12, 1, 2, 1), (6, 5, 2, 0)]
    assert _counts(experiment, "selected", "policy", ids) == [0, 1, 2]
    assert _told(experiment) == {"trials": 30, "right": 6, "prompts_short": 2, "deficit_right": 3}


@pytest.mark.parametrize(
    ("fails", "most", "targets"),
    [([0, 1, 5, 10], 192, [1, 20, 96, 192]), ([2, 4, 8], 10, [3, 5, 10])],
)
@pytest.mark.slow
def test_prop2diff_asks_as_the_fail_rates_say(tmp_path, script, fails, most, targets):
    def right(step, place, number):
        if step == "calibrate_generations":
            return number >= fails[place]
        return place < len(fails) - 1 or number % 2 == 0  # the hardest is right every second time

    calibrate = {"samples": 10, "temperatures": [1.6]}
    plan = [{"name": "dart", "sql": "plan/dart_prop2diff.sql", "params": {"right": most}}]
    generate = {"temperature": 1.6, "top_p": 0.95, "plan": "dart", "until": {"bar": 1.0, "cap": 300, "wave": 16}}
    select = {"sql": "select/dart.sql", "params": {"min_score": 1.0}}
    experiment, ids = _run(tmp_path, script, len(fails), right, "quickstart.yaml", generate, calibrate=calibrate, plan=plan, select=select)
    planned = experiment.lake.read("plan", experiment="own", rounds=[0], part="dart").to_pylist()
    assert {row["item_id"]: json.loads(row["value"]) for row in planned} == dict(zip(ids, targets, strict=True))
    asked = [-(-target // 16) * 16 for target in targets[:-1]] + [min(300, -(-2 * targets[-1] // 16) * 16)]
    assert _counts(experiment, "generations", "rollout", ids) == asked
    corrects = [*asked[:-1], asked[-1] // 2]
    short = [max(0, target - got) for target, got in zip(targets, corrects, strict=True)]
    assert _budgets(experiment, ids) == list(zip(asked, corrects, targets, short, strict=True))
    assert _counts(experiment, "selected", "policy", ids) == [min(target, got) for target, got in zip(targets, corrects, strict=True)]
    assert _told(experiment)["deficit_right"] == sum(short)
