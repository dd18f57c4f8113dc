"""DPA: directions in words, the answer that is best in each, and what two rounds of the recipe train on."""

from __future__ import annotations

import math
import re

import pytest

from engine import sqlfile
from engine.errors import QueryError
from engine.select.fill import select
from engine.stepsql import StepSql
from ran_recipe import ran
from small_lake import SmallLake, spec

CANDIDATES = {"A": (70.0, 30.0), "B": (74.0, 60.0), "C": (62.0, 20.0), "D": (66.0, 12.0)}


def directed(small, rows):
    """Answers (prompt, name, direction, first, second) to prompts under directions."""
    made = [
        {
            "generation_id": f"{p}/{x},{y}/{name}",
            "content_id": "c",
            "prompt_id": p,
            "sample": i,
            "actor": "policy",
            "response": name,
            "finish_reason": "stop",
            "depth": 1,
            "messages": [{"role": "system", "content": f"maximize helpfulness*{x} + verbosity*{y}."}, {"role": "user", "content": "?"}],
        }
        for i, (p, name, (x, y), *_) in enumerate(rows)
    ]
    small.put("generations", "followup/directed", made)
    for place, scorer in ((3, "score"), (4, "verbosity")):
        scores = [
            {"item_id": g["generation_id"], "prompt_id": g["prompt_id"], "scorer": scorer, "value": r[place]}
            for g, r in zip(made, rows, strict=True)
        ]
        small.put("scores", f"followup/directed/{scorer}", scores)


def chosen(small, **params):
    """{(prompt, direction): row} of the selection."""
    one = spec(
        followup=[{"name": "directed", "sql": "followup/directed.sql"}],
        score=[{"verifier": "exact", "name": "helpfulness"}, {"verifier": "exact", "name": "verbosity"}],
        combine="helpfulness",
    )
    made = StepSql.load("select/directed.sql", params, "selected", small.folder / "spec.yaml")
    return {(row["prompt_id"], row["label"]): row for row in select(small.context(one), made).to_pylist()}


@pytest.fixture
def small(tmp_path):
    made = SmallLake(tmp_path)
    made.prompts(["p1", "p2"])
    made.answers([("p1", "x", 1.0), ("p2", "x", 1.0)])
    return made


def test_the_best_in_each_direction_is_the_catalogues(small):
    angles = {0: (100, 0), -15: (97, -26), -45: (71, -71), 20: (94, 34)}
    directed(small, [("p1", name, way, *own) for way in angles.values() for name, own in CANDIDATES.items()])
    rows = chosen(small, second="verbosity", standardise=False)
    best = {angle: rows["p1", f"{x},{y}"]["messages"][-1]["content"] for angle, (x, y) in angles.items()}
    assert best == {0: "B", -15: "D", -45: "D", 20: "B"} and len(rows) == 4
    assert "60.6" in rows["p1", "97,-26"]["reason"]  # D at -15 degrees
    assert [(m["role"], m["weight"]) for m in rows["p1", "97,-26"]["messages"]] == [("system", 0), ("user", 0), ("assistant", 1)]


def test_standard_scores_make_scales_alike(small):
    small_scale = {name: (first, second / 1000) for name, (first, second) in CANDIDATES.items()}
    for own in (CANDIDATES, small_scale):
        directed(small, [("p1", name, (71, -71), *numbers) for name, numbers in own.items()])
        assert chosen(small, second="verbosity")["p1", "71,-71"]["messages"][-1]["content"] == "D"
    assert chosen(small, second="verbosity", standardise=False)["p1", "71,-71"]["messages"][-1]["content"] == "B"


def test_along_the_first_quality_alone_it_is_raft(small):
    rows = [(p, name, (100, 0), first, second) for p in ("p1", "p2") for name, (first, second) in CANDIDATES.items()]
    directed(small, rows)
    found = chosen(small, second="verbosity")
    assert {p: row["messages"][-1]["content"] for (p, _), row in found.items()} == {"p1": "B", "p2": "B"}
    directed(small, [(p, name, way, None if name == "B" else first, second) for p, name, way, first, second in rows])
    assert {row["messages"][-1]["content"] for row in chosen(small, second="verbosity").values()} == {"A"}  # no number, no part


def test_directions_are_uniform_angles_in_whole_numbers(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts([f"p{i:03}" for i in range(300)])
    file = sqlfile.read(sqlfile.find("followup/directed.sql"))
    bound = file.bind({"directions": 3, "lowest": -45.0, "highest": 0.0}, {"seed": 5, "round": 0})
    rows = small.session(0).table(file.query(), bound).to_pylist()
    assert 870 < len(rows) <= 900  # one that is drawn twice for a prompt is asked once
    angles = []
    for row in rows:
        assert [m["role"] for m in row["messages"]] == ["system", "user"]
        x, y = map(int, re.fullmatch(r".*helpfulness\*(-?\d+) \+ verbosity\*(-?\d+)\.", row["messages"][0]["content"]).groups())
        assert math.hypot(x, y) == pytest.approx(100, abs=1)
        angles.append(math.degrees(math.atan2(y, x)))
    assert min(angles) > -46 and max(angles) < 1
    assert sum(angles) / len(angles) == pytest.approx(-22.5, abs=3 * 13 / math.sqrt(len(angles)))


def test_a_message_without_a_direction_is_an_error(small):
    directed(small, [("p1", "A", ("x", "y"), 1.0, 2.0)])
    with pytest.raises(QueryError, match="a direction of 0 numbers for 2 of the answer"):
        chosen(small, second="verbosity")


@pytest.mark.recipes
def test_two_rounds_train_on_the_best_of_each_prompt_and_direction(tmp_path):
    done = ran(tmp_path, "dpa")
    for round_ in (0, 1):
        answers = done.rows("generations", round_, "followup/directed")
        scores = {row["item_id"]: row["value"] for row in done.rows("scores", round_, "followup/directed/score")}
        asked = {row["generation_id"]: row["messages"] for row in answers}
        qualities = {row["generation_id"]: (scores[row["generation_id"]], len(row["response"].split())) for row in answers}
        mean = [sum(own[i] for own in qualities.values()) / len(qualities) for i in (0, 1)]
        std = [math.sqrt(sum((own[i] - mean[i]) ** 2 for own in qualities.values()) / len(qualities)) for i in (0, 1)]

        def worth(name, mean=mean, std=std, asked=asked, qualities=qualities):
            x, y = map(int, re.findall(r"\*(-?\d+)", asked[name][0]["content"]))
            z = [(qualities[name][i] - mean[i]) / std[i] if std[i] else 0.0 for i in (0, 1)]
            return (x * z[0] + y * z[1]) / math.hypot(x, y)

        groups = {}
        for row in answers:
            groups.setdefault((row["prompt_id"], row["messages"][0]["content"]), []).append(row["generation_id"])
        rows = done.rows("selected", round_)
        assert len(rows) == len(groups) > 8
        for row in rows:
            own = groups[row["prompt_id"], row["messages"][0]["content"]]
            assert row["generation_id"] in own
            assert worth(row["generation_id"]) == pytest.approx(max(map(worth, own)), abs=1e-9)
