"""The view `spend` and its query: who spent what, and nothing twice."""

import json

import pytest

from engine import sqlfile
from small_lake import SmallLake

NOTHING = {"copied": 0, "cost": None, "requests": None, "retries": None, "reused_from": None}


def _answer(name, prompt, actor="policy", tokens=(5, 10), seconds=0.5, model="m"):
    values = {"generation_id": name, "prompt_id": prompt, "actor": actor, "model": model, "seconds": seconds}
    return values | {"prompt_tokens": tokens[0], "response_tokens": tokens[1]}


def _score(name, scorer, seconds, tokens=(None, None)):
    values = {"item_id": name, "prompt_id": "p", "scorer": scorer, "seconds": seconds}
    return values | {"prompt_tokens": tokens[0], "response_tokens": tokens[1]}


def _step(small, name, table, parts, detail, round_=0, **more):
    row = {"step": name, "table": table, "parts": parts, "detail": json.dumps(detail), "state": "done"} | more
    small.put("steps", name, [row], round_)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    made = SmallLake(tmp_path_factory.mktemp("lake"))
    # round 0: a policy without a price, and a server that has one; the spec's actors stand in the ledger by name
    rows = [_answer("a", "p"), _answer("b", "q"), _answer("c", "p", "big-teacher", (7, 20), 2.0, "server")]
    made.put("generations", "rollout", rows)
    bill = {"cost": 0.25, "requests": 3, "retries": 1, "prompt_tokens": 7}
    _step(made, "generations", "generations", ["rollout"], {"actors": {"policy": {}, "big-teacher": bill}})
    # another model in the same actor's answers: the bill stands once
    held = [_answer("d", "t", tokens=(1, 4), model="x"), _answer("e", "t", tokens=(None, None), model="y")]
    made.put("generations", "eval", held)
    _step(made, "eval_generations", "generations", ["eval"], {"cost": 1.5, "requests": 2, "retries": 0})
    made.put("generations", "followup/again", [_answer("f", "p", seconds=None)])
    # what judges: a verifier in waves, then known to its own step; a judge with a price; a comparison in both orders
    made.put("scores", "until/math", [_score("a", "math", 0.25), _score("b", "math", 0.25)])
    made.put("scores", "rollout/math", [_score("a", "math", 0.0), _score("b", "math", 0.0), _score("c", "math", 0.5)])
    _step(made, "scores_math", "scores", ["rollout/math"], {"cached": 2})
    made.put("scores", "rollout/judge", [_score("a", "judge", 1.0, (30, 3)), _score("b", "judge", 0.0)])
    _step(made, "measure_judge", "scores", ["rollout/judge"], {"cost": 0.5, "requests": 1, "retries": 0})
    made.put("scores", "rollout/score", [_score("a", "score", None)])
    both = {"prompt_id": "p", "left_id": "a", "right_id": "c", "judge": "duel", "votes": 1}
    pairs = [both | {"order": order, "seconds": 1.0, "prompt_tokens": 40, "response_tokens": 4} for order in ("forward", "swapped", "both")]
    made.put("preferences", "rollout/duel", pairs)
    # round 1 is taken over whole
    made.put("generations", "rollout", [_answer("a1", "p", seconds=0.0), _answer("b1", "q", seconds=0.0)], 1)
    _step(made, "generations", "generations", ["rollout"], bill, 1, reused_from="other/0", state="reused")
    made.put("scores", "rollout/judge", [_score("a1", "judge", 0.0)], 1)
    _step(made, "measure_judge", "scores", ["rollout/judge"], {"cost": 0.5, "requests": 1, "retries": 0}, 1, reused_from="other/0")
    return made


def _spend(small, **where):
    chosen = " and ".join(f"{name} = '{value}'" for name, value in where.items())
    return small.session().table(f"select * from lake.spend where {chosen} order by round, part, actor, model").to_pylist()


def test_each_actor_has_its_own_bill(small):
    teacher, policy = _spend(small, round=0, part="rollout", kind="generation")
    expected = {"actor": "policy", "model": "m", "prompts": 2, "answers": 2, "prompt_tokens": 10, "response_tokens": 20, "seconds": 1.0}
    assert expected.items() <= policy.items() and NOTHING.items() <= policy.items()
    assert policy["tokens_per_second"] == 20.0
    assert (teacher["actor"], teacher["cost"], teacher["requests"], teacher["retries"]) == ("big-teacher", 0.25, 3, 1)
    assert (teacher["response_tokens"], teacher["tokens_per_second"]) == (20, 10.0)


def test_a_bill_counts_once_where_there_are_several_models(small):
    rows = _spend(small, round=0, part="eval")
    assert [(row["model"], row["response_tokens"], row["cost"], row["requests"]) for row in rows] == [
        ("x", 4, 1.5, 2),
        ("y", None, None, None),
    ]


def test_a_step_that_nobody_filed_has_tokens_and_no_bill(small):
    (row,) = _spend(small, part="followup/again")
    assert (row["response_tokens"], row["seconds"], row["tokens_per_second"], row["cost"]) == (10, None, None, None)


def test_judges(small):
    rows = {(row["part"], row["actor"]): row for row in _spend(small, round=0, kind="judge")}
    assert set(rows) == {("until/math", "math"), ("rollout/math", "math"), ("rollout/judge", "judge"), ("rollout/duel", "duel")}
    assert [
        (rows[part, "math"]["answers"], rows[part, "math"]["copied"], rows[part, "math"]["seconds"])
        for part in ("until/math", "rollout/math")
    ] == [
        (2, 0, 0.5),
        (3, 2, 0.5),
    ]
    judge = rows["rollout/judge", "judge"]
    assert (judge["answers"], judge["copied"], judge["prompt_tokens"], judge["response_tokens"]) == (2, 1, 30, 3)
    assert (judge["cost"], judge["requests"], judge["model"]) == (0.5, 1, None)
    duel = rows["rollout/duel", "duel"]
    assert (duel["answers"], duel["prompt_tokens"], duel["seconds"]) == (2, 80, 2.0), "both orders were asked, the two together were not"


def test_copies_cost_nothing(small):
    generation, judge = _spend(small, round=1)
    assert [
        generation[name] for name in ("answers", "copied", "prompt_tokens", "response_tokens", "seconds", "cost", "requests", "retries")
    ] == [*(2, 2, 0, 0, 0.0, 0.0, 0, 0)]
    assert (generation["reused_from"], generation["tokens_per_second"]) == ("other/0", None)
    assert [judge[name] for name in ("answers", "copied", "prompt_tokens", "seconds", "cost")] == [1, 1, None, 0.0, 0.0]


def test_totals_of_each_experiment(small):
    file = sqlfile.read(sqlfile.find("queries/spend"))
    found = small.session().table(file.text, file.bind({})).to_pylist()
    generation, judge = found
    assert generation == {
        "experiment": "small",
        "kind": "generation",
        "answers": 6,
        "copied": 2,
        "prompt_tokens": 23,
        "response_tokens": 54,
        "seconds": 4.0,
        "cost": 1.75,
        "requests": 5,
        "retries": 1,
    }
    assert (judge["answers"], judge["copied"], judge["prompt_tokens"], judge["seconds"], judge["cost"]) == (6, 4, 110, 4.0, 0.5)
    assert small.session().table(file.text, file.bind({"experiment": "other"})).num_rows == 0


def test_a_round_sees_its_own(small):
    rows = small.session(1).table("select round, part from history.spend").to_pylist()
    assert {row["round"] for row in rows} == {0} and "eval" not in {row["part"] for row in rows}
