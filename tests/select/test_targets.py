"""Selections that choose the target of a prompt: S3FT, ToolACE-R, R-Tuning, CLEAR; RIF-RFT's filter and eva's draw."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest

from engine import sqlfile
from engine.errors import QueryError, StepError
from engine.select.steps import SelectedStep
from engine.specfile import recipes
from engine.yamlfile import read_yaml
from small_lake import SmallLake, spec


def select(small, sql, round_=0, **params):
    one = spec(select={"sql": f"select/{sql}.sql", "params": params})
    output = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, round_))
    return {(row["prompt_id"], row["label"] or row["rank"]): row for row in output.rows["selected", "policy"].to_pylist()}


def ask(small, sql, round_=0, **params):
    """Rows of a follow-up's SQL."""
    file = sqlfile.read(sqlfile.find(f"followup/{sql}.sql"))
    return small.session(round_).table(file.query(), file.bind(params)).to_pylist()


def said(row):
    return [(m["role"], m["content"], m["weight"]) for m in row["messages"]]


def lake(tmp_path, scores, round_=0, **columns):
    """Prompts p1, p2, ... with `scores` of their answers a0, a1, ...; references 'gold p1', ..."""
    small = SmallLake(tmp_path)
    names = [f"p{i}" for i in range(1, len(scores) + 1)]
    rows = [
        {"prompt_id": n, "split": "train", "messages": [{"role": "user", "content": f"ask {n}"}], "reference": f"gold {n}"} for n in names
    ]
    small.put("prompts", "train", [row | {key: make(row["prompt_id"]) for key, make in columns.items()} for row in rows], round_)
    small.answers([(n, f"a{k} of {n}", s) for n, own in zip(names, scores, strict=True) for k, s in enumerate(own)], round_=round_)
    return small


def follow(small, name, rows):
    """Second generations (prompt, parent, response, score) of an entry, with ids like p1-<name>-0."""
    common = {"content_id": "c", "actor": "policy", "finish_reason": "stop", "depth": 1}
    made = [
        common | {"generation_id": f"{p}-{name}-{i}", "prompt_id": p, "parent_id": parent, "sample": i, "response": text}
        for i, (p, parent, text, _) in enumerate(rows)
    ]
    small.put("generations", f"followup/{name}", made)
    scores = [
        {"item_id": g["generation_id"], "prompt_id": g["prompt_id"], "scorer": "score", "value": r[3]}
        for g, r in zip(made, rows, strict=True)
    ]
    small.put("scores", f"followup/{name}/score", scores)


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


def told(tmp_path, answers, **columns):
    """Prompts p1, p2, ... with the texts of their answers."""
    small = lake(tmp_path, [[0.0] * len(texts) for texts in answers], **columns)
    small.answers([(f"p{i}", text, 0.0) for i, texts in enumerate(answers, 1) for text in texts])
    return small


def test_r_tuning_is_certain_where_the_gold_text_stands_in_the_answer(tmp_path):
    gold = {"p1": "Paris", "p2": "Paris", "p3": "Paris", "p4": "3.5"}
    small = told(tmp_path, [["It is Paris"], ["Rome. Or Paris."], ["Paris"], ["3.5"]], reference=gold.get)
    rows = select(small, "r_tuning")
    # an answer ends at its first period; one without a period is whole, and a number with a point is cut, as in the code
    assert sorted(rows) == [("p1", "certain"), ("p2", "uncertain"), ("p3", "certain"), ("p4", "uncertain")]
    assert said(rows["p2", "uncertain"]) == [
        ("user", "ask p2", 0.0),
        ("assistant", "Paris", 1.0),  # the gold answer, not the policy's
        ("user", "Are you sure that this answer is right?", 0.0),
        ("assistant", "I am unsure.", 1.0),
    ]
    assert said(rows["p1", "certain"])[-1] == ("assistant", "I am sure.", 1.0) and rows["p1", "certain"]["origin"] == "gold"
    assert rows["p1", "certain"]["reason"] == "the first answer contains the gold one"
    assert [k[1] for k in sorted(select(small, "r_tuning", cut=""))] == ["certain", "certain", "certain", "certain"]
    assert [k[1] for k in sorted(select(small, "r_tuning", match="equals"))] == ["uncertain", "uncertain", "certain", "uncertain"]


def test_r_tuning_takes_numbers_whole_and_may_ask_the_verifiers(tmp_path):
    small = lake(tmp_path, [[1.0, 0.0], [0.0, 1.0]], reference=lambda p: "3.5")
    assert [k[1] for k in sorted(select(small, "r_tuning", match="score"))] == ["certain", "uncertain"]  # the first answer counts
    small.answers([("p1", "so 3.5", 0.0), ("p2", "3", 0.0)])
    assert [k[1] for k in sorted(select(small, "r_tuning", cut=""))] == ["certain", "uncertain"]


def test_an_empty_gold_answer_is_an_error_and_no_match(tmp_path):
    small = told(tmp_path, [[""]], reference=lambda p: " ")
    with pytest.raises(QueryError, match="prompt p1 has no gold answer: no reference"):
        select(small, "r_tuning")


def test_r_tuning_by_entropy(tmp_path):
    answers = [list("AAABB"), list("AAAAA"), list("ABCDE"), list("BBAAA"), list("AABCD")]
    rows = select(told(tmp_path, answers), "r_tuning", split="entropy", sure="yes", unsure="no")
    assert sorted(rows) == [("p1", "certain"), ("p2", "certain"), ("p3", "uncertain"), ("p4", "uncertain"), ("p5", "uncertain")]
    assert rows["p1", "certain"]["reason"] == "entropy 0.6730 nats of 5 answers, lower half"
    assert rows["p2", "certain"]["reason"].startswith("entropy 0.0000")
    assert f"{math.log(5):.4f}" in rows["p3", "uncertain"]["reason"]
    assert "0.6730" in rows["p4", "uncertain"]["reason"]  # equal entropies go by id: p1 is in, p4 is out
    own = select(told(tmp_path / "b", answers, reference=lambda p: None), "r_tuning", split="entropy", target="majority")
    assert [own[key]["messages"][1]["content"] for key in sorted(own)] == ["A", "A", "A", "A", "A"]


def test_r_tuning_refuses_what_is_unknown(tmp_path):
    refusals = read_yaml(recipes()["r-tuning"]).values["select"]["params"]["refusals"]
    assert len(set(refusals)) == 16
    small = told(tmp_path, [["gold p1"]] + [["no"]] * 40)
    rows = select(small, "r_tuning", mode="unknown", refusals=refusals)
    assert said(rows["p1", "certain"]) == [("user", "ask p1", 0.0), ("assistant", "gold p1", 1.0)]
    drawn = [rows[key]["messages"][-1]["content"] for key in sorted(rows) if key[1] == "uncertain"]
    assert set(drawn) <= set(refusals) and len(set(drawn)) > 8 and len(drawn) == 40
    assert {rows[key]["origin"] for key in rows if key[1] == "uncertain"} == {"refined"}
    again = select(small, "r_tuning", mode="unknown", refusals=refusals)
    assert again == rows
    with pytest.raises(QueryError, match="refusals, a list of sentences"):
        select(small, "r_tuning", mode="unknown")
    with pytest.raises(QueryError, match="mode: expected unsure or unknown, found loud"):
        select(small, "r_tuning", mode="loud")


def judged(tmp_path, confidences, duels=(), scores=None):
    """Prompts with the confidence of their gold answers, and of their first answers against those (confidence, wins)."""
    small = lake(tmp_path, scores or [[0.0, 0.0]] * len(confidences))
    rows = [{"item_id": f"p{i}-{k}", "prompt_id": f"p{i}", "value": c} for i, c in enumerate(confidences, 1) for k in (0, 1)]
    small.put("scores", "rollout/confidence", [row | {"scorer": "confidence"} for row in rows])
    for suffix, place in (("", 0), ("_wins", 1)):
        rows = [
            {"item_id": f"p{i}-0", "prompt_id": f"p{i}", "scorer": f"beats_gold{suffix}", "value": d[place]} for i, d in enumerate(duels, 1)
        ]
        small.put("scores", f"rollout/beats_gold{suffix}", rows)
    return small


def test_clear_keeps_gold_answers_from_the_median_on(tmp_path):
    small = judged(tmp_path, [0.2, 0.4, 0.6, 0.8])
    rows = select(small, "clear")
    assert sorted(rows) == [("p3", "gold"), ("p4", "gold")]
    assert rows["p3", "gold"]["reason"] == "gold: confidence 0.6000, from 0.5000 on it is kept"
    assert [p for p, _ in sorted(select(small, "clear", gamma=0.4))] == ["p2", "p3", "p4"]
    with pytest.raises(StepError, match="chose nothing"):
        select(small, "clear", gamma=0.9)


def test_clear_replaces_only_what_surely_loses(tmp_path):
    duels = [(0.8, 1.0), (0.81, 1.0), (0.95, 0.0), (None, None)]
    small = judged(tmp_path, [0.2, 0.2, 0.9, None], duels)
    rows = select(small, "clear")
    assert sorted(rows) == [("p1", "gold"), ("p2", "candidate"), ("p3", "gold")]  # 0.8 is not above 0.8; p3 lost one order
    assert rows["p2", "candidate"]["generation_id"] == "p2-0" and said(rows["p2", "candidate"])[-1] == ("assistant", "a0 of p2", 1.0)
    assert rows["p2", "candidate"]["reason"] == "candidate: better than gold in both orders, confidence 0.8100 > 0.8"
    assert sorted(select(small, "clear", correct=False)) == [("p1", "gold"), ("p2", "gold"), ("p3", "gold")]
    assert sorted(select(small, "clear", eta=0.79))[0] == ("p1", "candidate")


def test_clear_by_score(tmp_path):
    small = judged(tmp_path, [0.2, 0.9, 0.9], scores=[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    rows = select(small, "clear", judge="score")
    assert sorted(rows) == [("p1", "candidate"), ("p2", "gold"), ("p3", "gold")]  # the first answer is the candidate
    assert rows["p1", "candidate"]["reason"] == "candidate: score 1"
    with pytest.raises(QueryError, match="judge: expected model or score, found me"):
        select(small, "clear", judge="me")


def test_rif_drops_what_no_rollout_solves(tmp_path):
    given = read_yaml(recipes()["rif"]).values["select"]
    sql = given["sql"].removeprefix("select/").removesuffix(".sql")
    small = lake(tmp_path, [[0.0] * 8, [1.0] + [0.0] * 7, [1.0] * 8, [1.0] * 2 + [0.0] * 6, [1.0] * 4 + [0.0] * 4, [1.0] * 6 + [0.0] * 2])
    assert {p for p, _ in select(small, sql, **given["params"])} == {"p2", "p3", "p4", "p5", "p6"}
    assert {p for p, _ in select(small, sql, **given["params"] | {"hi": 0.999})} == {"p2", "p4", "p5", "p6"}
    weights = {p: row["weight"] for (p, _), row in select(small, sql, **given["params"], weight="variance").items()}
    assert (weights["p4"], weights["p5"], weights["p6"], weights["p3"]) == (0.1875, 0.25, 0.1875, 0.0)


def drawn(small, seed, **params):
    file = sqlfile.read(sqlfile.find("select/eva.sql"))
    return small.session(0).table(file.query(), file.bind(params, {"seed": seed})).to_pylist()


def test_eva_draws_by_spread(tmp_path):
    small = lake(tmp_path, [[1.0, 4.0, 2.0], [3.0, 3.0, 3.0], [0.0, 5.0, 1.0]])
    rows = {row["prompt_id"]: row for row in drawn(small, 1, share=1.0)}
    assert sorted(rows) == ["p1", "p3"]  # a prompt without spread is never drawn
    assert rows["p1"]["reason"] == "informativeness 3.0000, 0.3750 of the weight, best reward 4" and rows["p1"]["generation_id"] == "p1-1"
    assert "informativeness 5.0000, 0.6250" in rows["p3"]["reason"]
    mean = {row["prompt_id"]: row["reason"] for row in drawn(small, 1, share=1.0, info="max_mean")}
    assert "informativeness 1.6667" in mean["p1"] and "informativeness 3.0000" in mean["p3"]
    assert [row["prompt_id"] for row in drawn(small, 5, share=1.0, min_score=5.0)] == ["p3"]


def test_eva_draws_in_proportion(tmp_path):
    small = lake(tmp_path, [[1.0, 4.0] if i % 2 else [0.0, 5.0] for i in range(400)])
    found = Counter(row["reason"][:22] for seed in range(8) for row in drawn(small, seed, share=0.1))
    assert sum(found.values()) == 320
    # of the first rows drawn 3/8 have the smaller spread; taking a tenth moves that by little; three standard deviations
    assert abs(found["informativeness 3.0000"] / 320 - 0.375) < 0.085


def test_eva_is_uniform_where_nothing_spreads(tmp_path):
    small = lake(tmp_path, [[1.0, 1.0]] * 400)
    found = Counter(int(row["prompt_id"][1:]) % 4 for row in drawn(small, 3, share=0.25))
    assert sum(found.values()) == 100 and sum((n - 25) ** 2 / 25 for n in found.values()) < 16.3
