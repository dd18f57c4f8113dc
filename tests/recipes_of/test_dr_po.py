"""DR-PO: where the policy is reset to, what it sees and goes on with, and that nothing of the given beginning trains."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from engine.errors import QueryError
from engine.pairs.fill import pair
from engine.stepsql import StepSql
from ran_recipe import best_worst, ran
from small_lake import SmallLake, spec
from target_lake import lake


def resets(small, seed=1, **params):
    """Beginnings by prompt."""
    from engine import sqlfile

    file = sqlfile.read(sqlfile.find("followup/reset.sql"))
    rows = small.session(0).table(file.query(), file.bind(params, {"seed": seed, "round": 0})).to_pylist()
    assert all(row["messages"][0] == {"role": "user", "content": f"ask {row['prompt_id']}"} for row in rows)
    assert all(row["messages"][-1]["role"] == "assistant" and len(row["messages"]) == 2 for row in rows)
    return {row["prompt_id"]: row["messages"][-1]["content"] for row in rows}


def test_the_length_is_uniform_and_never_the_whole(tmp_path):
    small = lake(tmp_path, [[0.0]] * 1200)
    # gold answers are 'gold p1', ...: five words with the form
    found = resets(small, gold_form="so it is {gold}")
    assert len(found) == 1200
    assert all(f"so it is gold {prompt}".startswith(start) for prompt, start in found.items())
    counts = Counter(len(start.split()) for start in found.values())
    assert set(counts) == {1, 2, 3, 4}
    assert sum((count - 300) ** 2 / 300 for count in counts.values()) < 16.3  # 3 degrees, p = 0.001
    assert abs(sum(n * count for n, count in counts.items()) / 1200 - 2.5) < 0.1


def test_the_chance_of_a_reset_and_answers_that_cannot_be(tmp_path):
    small = lake(tmp_path, [[0.0]] * 400)
    assert resets(small, beta=0.0) == {}
    some = resets(small, beta=0.25)
    assert abs(len(some) - 100) < 30 and some.items() <= resets(small, beta=1.0).items()
    assert resets(small, gold_form="7") == {}  # a single word
    assert len(resets(small, gold_form="77", unit="character")) == 400
    longer = {"gold_form": "so it is {gold}"}
    assert resets(small, **longer) == resets(small, **longer) != resets(small, seed=2, **longer)
    with pytest.raises(QueryError, match="unit: expected word or character, found token"):
        resets(small, unit="token")


def begun(small, rows, start="so "):
    """Answers to resets (prompt, full text, score), their beginning given."""
    made = [
        {
            "generation_id": f"{p}-reset-{i}",
            "content_id": "c",
            "prompt_id": p,
            "sample": i,
            "actor": "policy",
            "response": text,
            "finish_reason": "stop",
            "depth": 1,
            "messages": [{"role": "user", "content": f"ask {p}"}, {"role": "assistant", "content": start}],
        }
        for i, (p, text, _) in enumerate(rows)
    ]
    small.put("generations", "followup/reset", made)
    scores = [
        {"item_id": g["generation_id"], "prompt_id": g["prompt_id"], "scorer": "score", "value": r[2]}
        for g, r in zip(made, rows, strict=True)
    ]
    small.put("scores", "followup/reset/score", scores)


def paired(small, sql):
    one = spec(followup=[{"name": "reset", "sql": "followup/reset.sql"}])
    return pair(small.context(one), StepSql.load(f"pairs/{sql}.sql", {}, "pairs", small.folder / "spec.yaml")).to_pylist()


@pytest.fixture
def small(tmp_path):
    made = SmallLake(tmp_path)
    made.prompts(["p1", "p2", "p3"])
    made.answers([("p1", "x", 0.0), ("p1", "y", 1.0), ("p2", "x", 0.5), ("p2", "y", 1.0), ("p3", "x", 1.0), ("p3", "y", 1.0)])
    return made


def test_without_resets_the_pairs_are_those_of_online_dpo(small):
    begun(small, [])
    plain = [{name: row[name] for name in ("prompt_id", "chosen_id", "rejected_id", "messages", "chosen", "rejected", "margin")}
             for row in paired(small, "best_worst")]  # fmt: skip
    again = [{name: row[name] for name in plain[0]} for row in paired(small, "resets")]
    assert again == plain and [row["prompt_id"] for row in plain] == ["p1", "p2"]


def test_both_sides_share_the_beginning(small):
    begun(small, [("p1", "so a", 0.0), ("p1", "so b", 2.0), ("p3", "so a", 1.0), ("p3", "so b", 1.0)])
    rows = {row["prompt_id"]: row for row in paired(small, "resets")}
    assert sorted(rows) == ["p1", "p2"]  # the resets of p3 are equally good, and its own answers take no part
    one = rows["p1"]
    assert [(m["role"], m["content"], m["weight"]) for m in one["messages"]] == [("user", "ask p1", 0.0), ("assistant", "so ", 0.0)]
    assert (one["chosen"][0]["content"], one["rejected"][0]["content"]) == ("b", "a") and one["margin"] == 2.0
    assert (one["chosen_id"], dict(one["extra"])) == ("p1-reset-1", {"prefix": 3.0})
    assert len(rows["p2"]["messages"]) == 1 and dict(rows["p2"]["extra"]) == {"prefix": 0.0}


@pytest.mark.recipes
def test_two_rounds_go_on_from_beginnings_of_the_gold_answer(tmp_path):
    done = ran(tmp_path, "dr-po")
    for round_ in (0, 1):
        gold = {row["prompt_id"]: row["reference"] for row in done.rows("prompts", round_, "train")}
        scores = {row["item_id"]: row["value"] for row in done.rows("scores", round_, "followup/reset/score")}
        groups = {}
        for row in sorted(done.rows("generations", round_, "followup/reset"), key=lambda row: row["sample"]):
            start = row["messages"][-1]["content"]
            assert gold[row["prompt_id"]].startswith(start) and 0 < len(start) < len(gold[row["prompt_id"]])
            assert row["response"].startswith(start) and json.loads(row["meta"])["prefix"] == len(start)
            groups.setdefault(row["prompt_id"], []).append(row | {"numbers": {"score": scores[row["generation_id"]]}})
        assert groups
        answers = done.answers(round_) | groups
        both = {name: found for name, own in answers.items() if (found := best_worst(own))}
        rows = {row["prompt_id"]: row for row in done.rows("pairs", round_)}
        assert {name: (row["chosen_id"], row["rejected_id"]) for name, row in rows.items()} == {
            name: (best["generation_id"], worst["generation_id"]) for name, (best, worst) in both.items()
        }
        for name in set(rows) & set(groups):
            start = rows[name]["messages"][-1]["content"]
            assert start + rows[name]["chosen"][0]["content"] == both[name][0]["response"]
        assert done.logged(round_)[1] == pytest.approx(0.693147, abs=1e-3)
