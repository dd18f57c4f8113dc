"""The questions that people ask of a selection, over a small lake with known answers."""

from __future__ import annotations

import pytest

from engine import sqlfile
from small_lake import SmallLake


def talk(answer):
    return [{"role": "user", "content": "q", "weight": 0.0}, {"role": "assistant", "content": answer, "weight": 1.0}]


def row(name, prompt, answer, round_, generation=None, **more):
    return {
        "row_id": name,
        "prompt_id": prompt,
        "generation_id": generation,
        "messages": talk(answer),
        "weight": 1.0,
        "origin": "generation",
        "source_round": round_,
    } | more


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two rounds: p1 and p2 (odd) and p3 (even) are asked; p3 is never right; round 1 asks p1 and p4, a prompt without topic."""
    lake = SmallLake(tmp_path_factory.mktemp("lake"))
    lake.prompts(["g1"], "gate", -1)
    lake.put("selected", "policy", [row("b0", "base", "gold", -1, origin="gold")], -1)
    topics = {"p1": "odd", "p2": "odd", "p3": "even"}
    lake.prompts(["p1", "p2", "p3"], "train", 0, topics)
    lake.answers([("p1", "yes", 1.0), ("p1", "nope", 0.0), ("p2", "yes", 1.0), ("p3", "no", 0.0), ("p3", "hm", 0.5)], round_=0)
    lake.put("selected", "policy", [row("r1", "p1", "yes", 0, "p1-0", rank=1, reason="best"), row("r2", "p2", "yes", 0, "p2-0")], 0)
    lake.prompts(["p1", "p4"], "train", 1, topics)
    lake.answers([("p1", "yeah", 1.0), ("p4", "yes", 1.0)], round_=1)
    rows = [row("r1", "p1", "yes", 0, "p1-0"), row("r3", "p1", "yeah", 1, "p1-0-r1", order=2.0), row("r4", "p4", "own", 1, origin="gold")]
    lake.put("selected", "policy", rows, 1)
    lake.put("trained_rows", "policy", [{"digest": "d1", "position": i, "row_id": r} for i, r in enumerate(("r1", "r3", "r1"))], 1)
    number = {"item_kind": "prompt", "prompt_id": "p1", "scorer": "mig", "scorer_version": "1"}
    lake.put("scores", "rollout/mig", [number | {"item_id": "p1", "value": 3.0}], 0)
    lake.put("clusters", "prompt", [{"item_id": p, "cluster_id": c, "distance": 0.1} for p, c in (("p1", 4), ("p2", 5), ("p3", 4))], 0)
    lake.put("cluster_stats", "prompt", [{"cluster_id": c, "size": 1, "weight": 0.5, "label": f"words of {c}"} for c in (4, 5)], 0)
    lake.put("plan", "mix", [{"key": "weight", "item_id": "p1", "value": "0.25", "reason": "hard"}], 0)
    dropped = [
        {"prompt_id": "p8", "rule": "near", "twin_id": "p1", "value": 0.9, "reason": "Jaccard 0.9", "source": "train.jsonl:8"},
        {"prompt_id": "p7", "rule": "near", "twin_id": "p2", "value": 0.8, "reason": "Jaccard 0.8", "source": "train.jsonl:7"},
        {"prompt_id": "p6", "rule": "decontaminate", "suite": "test", "value": 0.7, "reason": "holds t1", "source": "train.jsonl:6"},
    ]
    for round_ in (0, 1):
        lake.put("prompts_dropped", "train", dropped[round_:], round_)
    other = [row("o1", "p1", "yes", 0, "p1-0"), row("o3", "p3", "hm", 0, "p3-1")]
    lake.put("selected", "policy", other, 0, experiment="other")
    return lake


def ask(small, name, **params):
    file = sqlfile.read(sqlfile.find(f"queries/{name}"))
    return small.session(None).table(file.text, file.bind(params)).to_pylist()


def test_coverage_has_shares_of_prompts_right_answers_and_rows(small):
    found = {(r["round"], r["topic"]): r for r in ask(small, "coverage", experiment="small")}
    assert set(found) == {(0, "odd"), (0, "even"), (1, "odd"), (1, "(none)")}
    odd, even = found[0, "odd"], found[0, "even"]
    assert (odd["prompts"], odd["prompt_share"], odd["solved"], odd["pass_rate"], odd["right_share"]) == (2, 2 / 3, 2, 2 / 3, 1.0)
    assert (odd["selected"], odd["selected_share"], odd["trains"]) == (2, 1.0, True)
    assert (even["prompts"], even["pass_rate"], even["selected"], even["selected_share"], even["trains"]) == (1, 0.0, 0, 0.0, False)
    assert (found[1, "odd"]["selected"], found[1, "(none)"]["selected"]) == (1, 1), "a carried row counts in its own round only"
    assert [(r["round"], r["topic"]) for r in ask(small, "coverage", never=True)] == [(0, "even")]


def test_overlap_by_prompt_and_by_content(small):
    first, second = ask(small, "overlap", left="small", right="other")
    assert (first["left"], first["right"], first["round"]) == ("small", "other", 0)
    assert (first["left_prompts"], first["right_prompts"], first["both_prompts"], first["prompt_jaccard"]) == (2, 2, 1, 1 / 3)
    assert (first["both_contents"], first["content_jaccard"]) == (1, 1 / 3)
    assert (second["left_prompts"], second["left_contents"], second["right_prompts"], second["prompt_jaccard"]) == (2, 3, 0, 0.0)
    assert ask(small, "overlap", left="small", right="other", fresh=True)[1]["left_contents"] == 2
    same = ask(small, "overlap", left="small", right="small")
    assert [(r["prompt_jaccard"], r["right_prompts"]) for r in same] == [(1.0, 2), (1.0, 2)]


def test_why_tells_the_story_of_a_selected_prompt(small):
    found = ask(small, "why", prompt="p1", experiment="small")
    story = [(r["round"], r["what"], r["item"], r["value"], r["told"]) for r in found]
    assert story == [
        (0, "drawn", None, None, "odd; ask p1"),
        (0, "plan mix", "weight", None, "0.25; hard"),
        (0, "cluster prompt", "4", 0.1, "words of 4"),
        (0, "answer", "p1-0", 1.0, "right; yes"),
        (0, "answer", "p1-1", 0.0, "wrong; nope"),
        (0, "number exact", "p1-0", 1.0, "generation; right"),
        (0, "number exact", "p1-1", 0.0, "generation; wrong"),
        (0, "number mig", "p1", 3.0, "prompt"),
        (0, "selected", "r1", 1.0, "generation of round 0; answer p1-0; rank 1; best"),
        (1, "drawn", None, None, "odd; ask p1"),
        (1, "answer", "p1-0-r1", 1.0, "right; yeah"),
        (1, "number exact", "p1-0-r1", 1.0, "generation; right"),
        (1, "selected", "r1", 1.0, "generation of round 0; answer p1-0"),
        (1, "selected", "r3", 1.0, "generation of round 1; answer p1-0-r1; order 2.0"),
        (1, "trained policy", "r1", 2.0, "times in checkpoint d1"),
        (1, "trained policy", "r3", 1.0, "times in checkpoint d1"),
    ]


def test_why_a_prompt_was_not_selected_held_out_or_dropped(small):
    assert ask(small, "why", prompt="ASK P3")[-1] | {"prompt_id": ""} == {
        "experiment": "small",
        "prompt_id": "",
        "round": 0,
        "what": "not selected",
        "item": None,
        "value": 0.5,
        "told": "2 scored answers, 0 right, best score 0.5",
    }
    assert [(r["what"], r["told"]) for r in ask(small, "why", prompt="g1")] == [("held out", "gate split: never trains; ask g1")]
    for fragment in ("p7", "train.jsonl:7"):
        (dropped,) = ask(small, "why", prompt=fragment)
        assert (dropped["what"], dropped["item"], dropped["told"]) == ("dropped", "p2", "near; Jaccard 0.8; train.jsonl:7")
        assert dropped["round"] == 1
    assert len({r["prompt_id"] for r in ask(small, "why", prompt="ask")}) == 3
    assert len({r["prompt_id"] for r in ask(small, "why", prompt="ask", prompts=1)}) == 1
    assert ask(small, "why", prompt="nothing like it") == []


def test_selection_drift(small):
    found = {(r["by"], r["value"], r["round"]): r for r in ask(small, "selection_drift", experiment="small")}
    assert (found["all", "", 0]["selected"], found["all", "", 0]["mean_score"], found["all", "", 0]["mean_tokens"]) == (2, 1.0, 3.0)
    assert found["all", "", 1]["mean_characters"] == 3.5 and found["all", "", 1]["mean_tokens"] == 4.0
    assert (found["topic", "odd", 0]["share"], found["topic", "odd", 0]["change"]) == (1.0, None)
    assert (found["topic", "odd", 1]["share"], found["topic", "odd", 1]["change"]) == (0.5, -0.5)
    assert (found["topic", "(none)", 0]["selected"], found["topic", "(none)", 1]["change"]) == (0, 0.5)
    assert (found["cluster", "4", 0]["share"], found["cluster", "5", 0]["share"]) == (0.5, 0.5)
    assert found["origin", "gold", 1]["mean_score"] is None and found["origin", "gold", 1]["share"] == 0.5
    assert {r["by"] for r in ask(small, "selection_drift", by="topic")} == {"topic"}


def test_plans_and_dropped(small):
    assert [(r["round"], r["plan"], r["key"], r["item_id"], r["value"], r["reason"]) for r in ask(small, "plans")] == [
        (0, "mix", "weight", "p1", "0.25", "hard")
    ]
    assert ask(small, "plans", key="temperature") == []
    found = ask(small, "dropped")
    assert [(r["round"], r["rule"], r["suite"], r["prompts"], r["prompt_id"], r["source"]) for r in found] == [
        (1, "decontaminate", "test", 1, "p6", "train.jsonl:6"),
        (1, "near", None, 1, "p7", "train.jsonl:7"),
    ], "what the newest round says, not all rounds added up"
    assert [r["rule"] for r in ask(small, "dropped", rule="near")] == ["near"]
