"""Selections that choose a target for every prompt: S3FT and ToolACE-R, with their second generations."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from engine.errors import QueryError
from target_lake import ask, follow, lake, said, select


def test_s3ft_takes_self_then_paraphrase_then_gold(tmp_path):
    small = lake(tmp_path, [[1.0], [0.0], [0.0], [None]])
    asked = ask(small, "paraphrase_gold", ask="Say {gold} again.")
    assert [(row["prompt_id"], row["parent_id"]) for row in sorted(asked, key=lambda r: r["prompt_id"])] == [
        ("p2", "p2-0"),
        ("p3", "p3-0"),
        ("p4", "p4-0"),
    ]
    assert asked[0]["messages"] == [{"role": "user", "content": f"ask {asked[0]['prompt_id']}\n\nSay gold {asked[0]['prompt_id']} again."}]
    follow(small, "paraphrase", [("p2", "p2-0", "gold of p2 in other words", 1.0), ("p3", "p3-0", "wrong", 0.0)])
    rows = select(small, "s3ft")
    assert sorted(rows) == [("p1", "self"), ("p2", "paraphrase"), ("p3", "gold"), ("p4", "gold")]  # every prompt once
    assert [rows[key]["origin"] for key in sorted(rows)] == ["generation", "refined", "gold", "gold"]
    assert [rows[key]["generation_id"] for key in sorted(rows)] == ["p1-0", "p2-paraphrase-0", None, None]
    assert said(rows["p2", "paraphrase"]) == [("user", "ask p2", 0.0), ("assistant", "gold of p2 in other words", 1.0)]
    assert rows["p1", "self"]["reason"] == "self: right, score 1" and rows["p3", "gold"]["reason"].startswith("gold: no answer")


def test_s3ft_with_a_judge_that_never_agrees_is_supervised_fine_tuning(tmp_path):
    small = lake(tmp_path, [[0.0]] * 3, meta=lambda p: json.dumps({"solution": f"so {p}"}))
    follow(small, "paraphrase", [("p1", "p1-0", "x", 0.0)])
    for params, text in (({}, "gold {}"), ({"gold": "$.solution"}, "so {}"), ({"gold_form": r"\boxed{{gold}}"}, r"\boxed{gold {}}")):
        rows = select(small, "s3ft", **params)
        wanted = [text.replace("{}", p) for p in ("p1", "p2", "p3")]
        assert [rows[key]["messages"][-1]["content"] for key in sorted(rows)] == wanted
    with pytest.raises(QueryError, match=r"prompt p\d has no gold answer: nothing at \$\.proof in its meta"):
        select(small, "s3ft", gold="$.proof")


def test_s3ft_without_a_judge_is_an_error(tmp_path):
    small = lake(tmp_path, [[None], [None]])
    follow(small, "paraphrase", [])
    with pytest.raises(QueryError, match="S3FT needs a judge"):
        select(small, "s3ft")


def test_s3ft_takes_the_earliest_right_answer(tmp_path):
    small = lake(tmp_path, [[0.0, 1.0, 1.0]])
    follow(small, "paraphrase", [])
    assert select(small, "s3ft")["p1", "self"]["generation_id"] == "p1-1"


COUNTS = [[0.0] * 8, [1.0] + [0.0] * 7, [0.0] * 4 + [1.0] * 4, [1.0] * 8]  # 0, 1, 4, 8 of 8 right


def test_toolace_r_includes_by_the_interval(tmp_path):
    small = lake(tmp_path, COUNTS)
    follow(small, "refine", [])

    def included(**params):
        return sorted(prompt for prompt, label in select(small, "toolace_r", drafts=0, **params) if label == "direct")

    assert included(bounds="()") == ["p2", "p3"]
    assert included() == ["p2", "p3", "p4"]  # pass@8 > 0
    assert included(bounds="[]") == ["p1", "p2", "p3", "p4"]
    assert included(bounds="[)", lo=0.125, hi=0.5) == ["p2"]
    with pytest.raises(QueryError, match=r"bounds: expected \(\), \(\], \[\) or \[\], found <>"):
        included(bounds="<>")
    lake(tmp_path, [[1.0], [0.0] * 8], round_=1)  # the ability has risen: p1 moves in, p2 moves out
    small.put("generations", "followup/refine", [], 1)
    small.put("scores", "followup/refine/score", [], 1)
    assert sorted(p for p, _ in select(small, "toolace_r", 1, drafts=0)) == ["p1"]


def test_toolace_r_makes_direct_refine_and_stop_rows(tmp_path):
    small = lake(tmp_path, [*COUNTS, [0.0, 1.0]])
    asked = ask(small, "refine", ask="Check.")
    assert sorted(row["parent_id"] for row in asked) == ["p3-0", "p5-0"]  # p2 and p4 are right at once, p1 is out of reach
    assert next(row for row in asked if row["prompt_id"] == "p3")["messages"] == [
        {"role": "user", "content": "ask p3"},
        {"role": "assistant", "content": "a0 of p3"},
        {"role": "user", "content": "Check."},
    ]
    follow(small, "refine", [("p3", "p3-0", "better", 1.0), ("p5", "p5-0", "worse", 0.0)])
    rows = select(small, "toolace_r", ask="Check.")
    assert Counter(label for _, label in rows) == {"direct": 4, "refine": 2, "stop": 2}
    assert said(rows["p3", "refine"])[1:] == [("assistant", "a0 of p3", 0.0), ("user", "Check.", 0.0), ("assistant", "better", 1.0)]
    assert said(rows["p5", "refine"])[-1] == ("assistant", "gold p5", 1.0)
    assert said(rows["p2", "stop"])[-1] == ("assistant", "a0 of p2", 1.0)  # a right draft stays as it is
    assert (rows["p3", "refine"]["generation_id"], rows["p2", "stop"]["generation_id"]) == ("p3-refine-0", "p2-0")
    assert {rows[key]["messages"][-1]["content"] for key in rows if key[1] == "direct"} == {f"gold p{i}" for i in (2, 3, 4, 5)}
    assert rows["p3", "refine"]["reason"] == "refine to a revision: draft 1, 4 of 8 right"
    assert rows["p5", "refine"]["reason"].startswith("refine to gold")
    only = select(small, "toolace_r", corrected="only_refined", direct="generation")
    assert ("p5", "refine") not in only and only["p3", "direct"]["generation_id"] == "p3-4"
    assert said(select(small, "toolace_r", corrected="gold")["p3", "refine"])[-1] == ("assistant", "gold p3", 1.0)
    with pytest.raises(QueryError, match="prompt p1 has no right answer"):
        select(small, "toolace_r", bounds="[]", direct="generation")
