"""Every shipped view and query, run over a small lake with known answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from engine import sqlfile
from engine.views import SQL, export
from judged_lake import judged
from small_lake import SmallLake

VIEWS = sorted(path.stem for path in (SQL / "views").glob("*.sql"))
QUERIES = sorted(path.stem for path in (SQL / "queries").glob("*.sql"))
OF_JUDGES = {"false_negatives", "judge_costs", "position_flips", "self_preference"}  # test_scoring_queries.py says what they find
START = datetime(2026, 1, 1, tzinfo=UTC)
TALK = [
    {"role": "user", "content": "ask p1", "origin": "prompt", "weight": 0.0},
    {"role": "assistant", "content": "yes", "origin": "policy", "weight": 1.0},
]


def step(name, seconds=1.0, **more):
    return {"step": name, "seconds": seconds, "state": "done", "at": START, "rows_in": 1, "rows_out": 2} | more


RULE = {"metric": "pass@1", "x": "rounds", "tau": 0.01}
STOP = {"settings": RULE, "points": 1, "x": 1, "value": 0.4, "in_a_row": 0, "ends": False, "why": "1 of 4 points"}
LOST = {"actors": {"files": {"unanswered": {"big/tutor": {"count": 1, "prompts": ["p1"]}}}}}


def opened(number):
    return step("opening", 0.0, ingredients=json.dumps({"opening": number}))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    lake = SmallLake(tmp_path_factory.mktemp("lake"))
    lake.prompts(["t1", "t2"], "test", -1, {"t1": "gain", "t2": "loss"})
    for round_, solved in ((-1, "t1"), (0, "t1"), (1, "t2")):
        lake.answers([(t, "x", float(t == solved)) for t in ("t1", "t2")], part="eval", round_=round_)
        values = [
            ("test", "pass@1", None, 0.5 + round_ / 10, 0.1),
            ("gate", "pass@1", None, 0.4, 0.1),
            ("test", "length", None, 9.0, 1.0),
            ("test", "pass@1", "gain", 0.25, None),
        ]
        lake.put(
            "evaluations",
            "policy",
            [dict(zip(("suite", "metric", "topic", "value", "stderr"), v, strict=True)) | {"n": 2} for v in values],
            round_,
        )
        old = {"digest": f"old{round_}", "role": "policy", "attempt": "a", "tokens": 5, "rows_trained": 9, "at": START}
        lake.put(
            "checkpoints",
            "policy",
            [old, old | {"digest": f"d{round_}", "attempt": "b", "tokens": 70, "rows_trained": 2, "steps": 2, "at": START + timedelta(1)}],
            round_,
        )
        log = [{"digest": f"d{round_}", "step": s, "metric": m, "value": 1 / s} for s in (1, 2) for m in ("clipped", "loss")]
        lake.put("training_log", "policy", log, round_)
    for round_ in (0, 1):
        lake.prompts(["p1", "p2"], "train", round_)
        lake.answers(
            [("p1", "no", 0.0), ("p1", "yes", 1.0), ("p2", "no", 0.0), ("p2", "hm", 0.5)],
            round_=round_,
            model=f"d{round_ - 1}",
            scorer="exact",
        )
        lake.put(
            "scores",
            "rollout/steps",
            [
                {"item_id": f"p1-{i}" + "-r1" * round_, "item_kind": "generation", "prompt_id": "p1", "scorer": "steps", "value": v}
                for i, v in enumerate((1.0, None))
            ],
            round_,
        )
        members = [{"item_id": "p1", "cluster_id": 0, "distance": 0.5}, {"item_id": "p2", "cluster_id": 1, "distance": 0.25}]
        lake.put("clusters", "asked", members, round_)
        shift = None if round_ == 0 else 0.125
        stats = [{"cluster_id": c, "size": 1, "weight": 0.5, "label": f"words {c}", "shift": shift} for c in (0, 1)]
        lake.put("cluster_stats", "asked", stats, round_)
        lake.put("clusters", "answers", [{"item_id": f"p1-1{'-r1' * round_}", "cluster_id": 7, "distance": 0.5}], round_)
        lake.put("cluster_stats", "answers", [{"cluster_id": 7, "size": 1, "weight": 0.25 * (1 + round_)}], round_)
    row = {
        "row_id": "r0",
        "prompt_id": "p1",
        "generation_id": "p1-1",
        "messages": TALK,
        "weight": 1.0,
        "origin": "generation",
        "source_round": 0,
        "reason": "score 1",
    }
    lake.put("selected", "policy", [row], 0)
    lake.put("selected", "policy", [row, row | {"row_id": "r1", "generation_id": "p1-1-r1", "source_round": 1}], 1)
    pair = {"row_id": "r", "prompt_id": "p1", "chosen_id": "p1-1", "rejected_id": "p1-0", "origin": "generation", "source_round": 0}
    lake.put("pairs", "policy", [pair | {"weight": 1.0}], 0)
    lake.put("trained_rows", "policy", [{"digest": "d1", "position": i, "row_id": r} for i, r in enumerate(("r1", "r0", "r1"))], 1)
    decision = {"role": "policy", "reason": "fine", "decided_by": "gate"}
    lake.put(
        "promotions",
        "policy",
        [decision | {"decision": "promoted", "digest": "d-1", "effective_round": 0, "sequence": 0, "opening": 0}],
        -1,
    )
    lake.put(
        "promotions",
        "policy",
        [
            decision | {"decision": "promoted", "digest": "old0", "effective_round": 1, "sequence": 1, "opening": 0},
            decision | {"decision": "promoted", "digest": "d0", "effective_round": 1, "sequence": 3, "opening": 1},
        ],
        0,
    )
    lake.put(
        "promotions",
        "policy",
        [
            decision | {"decision": "promoted", "digest": "old1", "effective_round": 2, "sequence": 2, "opening": 0},
            decision | {"decision": "held", "digest": "d1", "effective_round": 2, "sequence": 4, "opening": 1},
        ],
        1,
    )
    for round_, number in ((-1, 0), (0, 1), (1, 1)):
        lake.put("steps", "opening", [opened(number)], round_)
        for name, seconds in (("generations", 2.0), ("checkpoint", 4.0)):
            more = {"detail": json.dumps(LOST)} if name == "generations" and round_ == 1 else {}
            lake.put("steps", name, [step(name, seconds, **more)], round_)
        if round_ >= 0:
            lake.put("plan", "mix", [{"key": "weight", "item_id": "p1", "value": "0.5", "reason": "half"}], round_)
            lake.put("prompts_dropped", "train", [{"prompt_id": "p9", "rule": "near", "twin_id": "p1", "reason": "alike"}], round_)
            lake.put("clusters", "prompt", [{"item_id": p, "cluster_id": i, "distance": 0.5} for i, p in enumerate(("p1", "p2"))], round_)
            lake.put("cluster_stats", "prompt", [{"cluster_id": i, "size": 1, "weight": 0.5, "label": "ask"} for i in (0, 1)], round_)
            lake.put("steps", "promotion", [step("promotion", 0.0, detail=json.dumps({"stop": STOP}))], round_)
            lake.put("steps", "policy", [step("policy", 0.5, detail=json.dumps({"digest": f"d{round_ - 1}"}))], round_)
    return lake


def rows(small, text, round_=None, **params):
    return small.session(round_).table(text, params).to_pylist()


def ask(small, name, **params):
    file = sqlfile.read(sqlfile.find(f"queries/{name}"))
    return rows(small, file.text, None, **file.bind(params))


def test_rounds(small):
    base, first, second = rows(small, "select * from lake.rounds")
    assert [base[c] for c in ("round", "prompts", "answers", "policy_in", "checkpoint", "policy_out", "test")] == [
        -1,
        None,
        None,
        None,
        "d-1",
        "d-1",
        0.4,
    ]
    assert {
        k: first[k] for k in ("prompts", "answers", "pass_rate", "kept", "trained", "metric", "test", "test_stderr", "gate", "decision")
    } == {
        "prompts": 2,
        "answers": 4,
        "pass_rate": 0.25,
        "kept": 1,
        "trained": 2,
        "metric": "pass@1",
        "test": 0.5,
        "test_stderr": 0.1,
        "gate": 0.4,
        "decision": "promoted",
    }
    assert (first["policy_in"], first["policy_out"], first["seconds"]) == ("d-1", "d0", 6.5)
    assert (second["decision"], second["policy_in"], second["checkpoint"], second["policy_out"], second["kept"]) == (
        "held",
        "d0",
        "d1",
        "d0",
        1,
    )


def test_a_reopened_round_has_no_decision_until_it_is_made_again(small, tmp_path):
    other = SmallLake(tmp_path)
    decision = {"role": "policy", "decision": "promoted", "effective_round": 1, "opening": 0}
    for round_ in (0, 1):
        other.put("promotions", "policy", [decision | {"digest": f"d{round_}", "sequence": round_}], round_)
        other.put("steps", "opening", [opened(0)], round_)
    assert [r["decision"] for r in rows(other, "select decision from lake.rounds")] == ["promoted", "promoted"]
    other.put("steps", "opening", [opened(1)], 0)
    assert [r["decision"] for r in rows(other, "select decision from lake.rounds")] == [None, None]


def test_learning_curve(small):
    found = rows(small, "select * from lake.learning_curve where metric = 'pass@1' and suite = 'test' order by round")
    assert [(r["round"], r["value"], r["digest"], r["decision"]) for r in found] == [
        (-1, 0.4, "d-1", "promoted"),
        (0, 0.5, "d0", "promoted"),
        (1, 0.6, "d1", "held"),
    ]
    assert len(ask(small, "learning_curve", metric="length", experiment="small")) == 3
    assert ask(small, "learning_curve", experiment="other") == []


def test_prompt_history_never_solved_and_lost(small):
    found = rows(small, "select * from lake.prompt_history where part = 'rollout' order by round, prompt_id")
    assert [(r["prompt_id"], r["answers"], r["right_answers"], r["pass_rate"], r["best_score"]) for r in found[:2]] == [
        ("p1", 2, 1, 0.5, 1.0),
        ("p2", 2, 0, 0.0, 0.5),
    ]
    assert [(r["prompt_id"], r["rounds"], r["answers"], r["question"]) for r in ask(small, "never_solved")] == [("p2", 2, 4, "ask p2")]
    assert [(r["prompt_id"], r["solved_round"], r["last_round"], r["topic"]) for r in ask(small, "lost")] == [("t1", 0, 1, "gain")]
    assert {r["part"] for r in rows(small, "select part from prompt_history", 1)} == {"rollout"}
    assert {r["part"] for r in rows(small, "select part from history.prompt_history", 1)} == {"rollout"}


def test_step_costs(small):
    found = {(r["round"], r["step"]): r for r in rows(small, "select * from lake.step_costs")}
    assert found[0, "generations"]["tokens"] == 9 and found[0, "generations"]["tokens_per_second"] == 4.5
    assert found[1, "checkpoint"]["tokens"] == 70
    assert not {"opening", "device"} & {name for _, name in found}
    assert [(r["step"], r["seconds"]) for r in ask(small, "costs")] == [
        ("checkpoint", 12.0),
        ("generations", 6.0),
        ("policy", 1.0),
        ("promotion", 0.0),
    ]


def test_selection_and_lineage(small):
    found = ask(small, "lineage", checkpoint="d1")
    assert [(r["row_id"], r["times"], r["source_round"], r["score"], r["written_by"], r["question"], r["answer"]) for r in found] == [
        ("r1", 2, 1, 1.0, "d0", "ask p1", "yes"),
        ("r0", 1, 0, 1.0, "d-1", "ask p1", "yes"),
    ]
    assert ask(small, "lineage", checkpoint="nothing") == []
    assert [(r["round"], r["generation_id"], r["reason"]) for r in ask(small, "selection", round=0)] == [(0, "p1-1", "score 1")]
    assert [(r["mean_score"], r["kept_score"]) for r in ask(small, "kept_scores")] == [(0.375, 1.0)] * 2


def test_rows_and_tokens_by_actor(small):
    found = [
        tuple(r[c] for c in ("actor", "rows", "distinct_rows", "share", "tokens", "mean_score")) for r in ask(small, "trained_by_actor")
    ]
    assert found == [("policy", 3, 2, 1.0, 9, 1.0)]
    assert ask(small, "trained_by_actor", experiment="other") == []


def test_a_row_has_the_actor_of_its_answer_and_else_its_origin(small, tmp_path):
    other = SmallLake(tmp_path)
    other.answers([("p1", "yes", 1.0)])
    other.answers([("p1", "better", 0.5)], part="followup/refine", actor="tutor")
    origins = {"a": ("p1-0", "generation"), "b": ("p1-followup/refine-0", "refined"), "c": (None, "gold"), "d": ("lost", "generation")}
    row = {"prompt_id": "p1", "messages": TALK, "weight": 1.0, "source_round": 0}
    other.put("selected", "policy", [row | {"row_id": n, "generation_id": g, "origin": o} for n, (g, o) in origins.items()])
    found = rows(other, "select row_id, actor, score from lake.selected_rows order by row_id")
    assert [tuple(r.values()) for r in found] == [("a", "policy", 1.0), ("b", "tutor", 0.5), ("c", "gold", None), ("d", None, None)]


def test_unanswered(small):
    found = [tuple(r[c] for c in ("round", "actor", "prompt_id", "why", "question")) for r in ask(small, "unanswered")]
    assert found == [(1, "big/tutor", "p1", "no answer", "ask p1"), (1, "big/tutor", "p2", "not asked", "ask p2")]
    assert ask(small, "unanswered", round=0) == []


def test_scorer_agreement_and_topics(small):
    found = ask(small, "scorer_agreement")[0]
    assert (found["first_scorer"], found["answers"], found["only_first"], found["only_second"], found["without_score"]) == (
        "exact",
        2,
        0,
        1,
        1,
    )
    assert [(r["topic"], r["round"], r["value"]) for r in ask(small, "topics")] == [
        ("gain", -1, 0.25),
        ("gain", 0, 0.25),
        ("gain", 1, 0.25),
    ]


def test_clusters_and_what_the_selection_favours(small):
    found = ask(small, "clusters", experiment="small")
    assert [
        (r["part"], r["round"], r["cluster_id"], r["answers"], r["mean_score"], r["shift"]) for r in found if r["part"] != "prompt"
    ] == [
        ("answers", 0, 7, 1, 1.0, None),
        ("answers", 1, 7, 1, 1.0, None),
        ("asked", 0, 0, 2, 0.5, None),
        ("asked", 0, 1, 2, 0.25, None),
        ("asked", 1, 0, 2, 0.5, 0.125),
        ("asked", 1, 1, 2, 0.25, 0.125),
    ]
    found = ask(small, "cluster_shift", part="asked")
    assert [(r["round"], r["cluster_id"], r["selected"], r["selected_share"], r["lift"], r["lift_change"]) for r in found] == [
        (0, 0, 1, 1.0, 2.0, None),
        (0, 1, 0, 0.0, 0.0, None),
        (1, 0, 1, 1.0, 2.0, 0.0),
        (1, 1, 0, 0.0, 0.0, 0.0),
    ]
    found = ask(small, "cluster_shift", part="answers")
    assert [(r["label"], r["share"], r["lift"], r["lift_change"]) for r in found] == [(None, 0.25, 4.0, None), (None, 0.5, 2.0, -2.0)]
    assert ask(small, "cluster_shift", part="nothing") == []


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_runs_in_each_schema_and_on_an_empty_lake(small, name, tmp_path):
    for schema in ("bare", "history", "lake"):
        small.session(1).table(f"select * from {schema}.{name}")
        assert SmallLake(tmp_path).session(1).table(f"select * from {schema}.{name}").num_rows == 0


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_runs_and_says_what_it_does(small, name, tmp_path):
    file = sqlfile.read(sqlfile.find(f"queries/{name}"))
    known = {"checkpoint": "d", "prompt": "p1", "left": "small", "right": "small"}
    known |= dict.fromkeys(("gold", "log_ratio", "confidence", "logprob"), "exact")
    given = {parameter: known[parameter] for parameter in file.parameters - set(file.defaults)}
    given |= {"since": "best"} if name == "forgetting" else {}  # every topic of this lake trains until its last round
    lake = judged(tmp_path / "judged") if name in OF_JUDGES else small
    assert ask(lake, name, **given) == ask(lake, name, **given) != []
    assert ask(SmallLake(tmp_path), name, **given) == []


def test_every_file_starts_with_a_comment_and_declares_its_parameters():
    automatic = {"seed", "round", "rounds"}
    for path in (path for path in SQL.glob("*/*.sql") if path.parent.name != "macros"):  # those are no queries: test_macros.py
        file = sqlfile.read(path)
        assert file.text.startswith("-- "), path
        header = "\n".join(line for line in file.text.splitlines() if line.startswith("--"))
        for name in file.parameters - automatic:
            assert f"${name}" in header, f"{path}: ${name} is not described"


def test_views_export_to_any_duckdb_client(small):
    with duckdb.connect() as connection:
        connection.execute(export(small.lake))
        for name in VIEWS:
            assert (
                connection.sql(f"select * from lake.{name}").to_arrow_table().num_rows
                == small.session().table(f"select * from lake.{name}").num_rows
            )
