"""The questions that people ask of pairs: what was paired and why, what was not, where they come from, how long they are."""

from __future__ import annotations

import pytest

from engine import sqlfile
from small_lake import SmallLake


def said(text, origin="policy"):
    return [{"role": "assistant", "content": text, "origin": origin, "weight": 1.0}]


def pair(name, prompt, chosen, rejected, round_, **more):
    asked = [{"role": "user", "content": f"ask {prompt}", "origin": "prompt", "weight": 0.0}]
    own = {"row_id": name, "prompt_id": prompt, "messages": asked, "chosen": said(chosen), "rejected": said(rejected), "weight": 1.0}
    return own | {"origin": "generation", "source_round": round_} | more


def ids(chosen, rejected):
    return {"chosen_id": chosen, "rejected_id": rejected}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Round 0 pairs p1 alone of six prompts, round 1 pairs p1 again, a gold answer against one of p2, and carries the old pair."""
    lake = SmallLake(tmp_path_factory.mktemp("lake"))
    lake.prompts(["p1", "p2", "p3", "p4", "p5", "p6"], "train", 0)
    scores = [("p1", "right", 1.0), ("p1", "no", 0.0), ("p2", "a", 0.0), ("p2", "b", 0.0), ("p3", "c", 1.0), ("p3", "d", 1.0)]
    lake.answers([*scores, ("p4", "e", 1.0), ("p5", "f", 1.0), ("p5", "g", 0.5), ("p6", "h", None)], model="m0")
    old = pair("r0", "p1", "right", "no", 0, **ids("p1-0", "p1-1"), margin=1.0, probability=0.75, reason="best")
    lake.put("pairs", "policy", [old], 0)
    lake.prompts(["p1", "p2"], "train", 1)
    lake.answers([("p1", "yes", 1.0), ("p1", "nope nope", 0.5), ("p2", "z", 0.0)], round_=1, model="m1")
    gold = pair("r2", "p2", "gold", "z", 1, rejected_id="p2-0-r1", origin="gold")
    new = pair("r1", "p1", "yes", "nope nope", 1, **ids("p1-0-r1", "p1-1-r1"), margin=0.5)
    lake.put("pairs", "policy", [old | {"origin": "replay"}, new, gold | {"chosen": said("gold", "gold")}], 1)
    checkpoint = {"digest": "d1", "role": "policy", "attempt": "a", "objective": "dpo"}
    lake.put("checkpoints", "policy", [checkpoint], 1)
    lake.put("trained_rows", "policy", [{"digest": "d1", "position": i, "row_id": r} for i, r in enumerate(("r1", "r0", "r2", "r1"))], 1)
    lake.put("pairs", "policy", [old | {"chosen": said("other")}], 0, experiment="other")
    return lake


def ask(small, name, **params):
    file = sqlfile.read(sqlfile.find(f"queries/{name}"))
    return small.session().table(file.text, file.bind(params)).to_pylist()


def test_a_checkpoint_leads_back_to_both_answers(small):
    found = ask(small, "lineage", checkpoint="d1")
    columns = ("row_id", "times", "origin", "source_round", "generation_id", "score", "written_by", "answer", "rejected_id")
    assert [tuple(row[c] for c in columns) for row in found] == [
        ("r1", 2, "generation", 1, "p1-0-r1", 1.0, "m1", "yes", "p1-1-r1"),
        ("r0", 1, "replay", 0, "p1-0", 1.0, "m0", "right", "p1-1"),
        ("r2", 1, "gold", 1, None, None, None, "gold", "p2-0-r1"),
    ]
    assert [(row["rejected_score"], row["rejected"], row["margin"]) for row in found] == [
        (0.5, "nope nope", 0.5),
        (0.0, "no", 1.0),
        (0.0, "z", None),
    ]


def test_what_was_paired_and_by_whom_it_was_written(small):
    found = ask(small, "pairs", experiment="small")
    assert [(row["round"], row["prompt_id"], row["score"], row["rejected_score"]) for row in found] == [
        (1, "p1", 1.0, 0.0),
        (1, "p1", 1.0, 0.5),
        (1, "p2", None, 0.0),
        (0, "p1", 1.0, 0.0),
    ]
    assert [(row["actor"], row["rejected_actor"], row["question"]) for row in found][2] == ("gold", "policy", "ask p2")
    assert len(ask(small, "pairs", limit=1)) == 1
    bare = small.session(1).table("select row_id, score from paired_rows order by row_id").to_pylist()
    assert [tuple(row.values()) for row in bare] == [("r0", None), ("r1", 1.0), ("r2", None)]  # round 0 is history here


def test_prompts_with_and_without_a_pair_and_why(small):
    found = [(row["round"], row["why"], row["prompts"], row["pairs"]) for row in ask(small, "pair_counts", experiment="small")]
    assert found == [
        (0, "no score", 1, 0),
        (0, "not paired by the SQL", 1, 0),
        (0, "one scored answer", 1, 0),
        (0, "paired", 1, 1),
        (0, "tie, all right", 1, 0),
        (0, "tie, none right", 1, 0),
        (1, "paired", 2, 2),
    ]
    assert sum(row["share"] for row in ask(small, "pair_counts", experiment="small") if row["round"] == 0) == pytest.approx(1.0)


def test_where_the_pairs_come_from(small):
    found = [tuple(row.values())[1:7] for row in ask(small, "pair_sources", experiment="small") if row["round"] == 1]
    assert found == [(1, "policy", "generation", 1, 1, 1), (1, "policy", "gold", 1, 1, 1), (1, "policy", "replay", 0, 1, 1)]
    assert ask(small, "pair_sources", experiment="small")[-1]["mean_margin"] == 1.0


def test_whether_longer_answers_are_chosen(small):
    first, second = ask(small, "pair_length_bias", experiment="small")
    assert (first["longer_chosen"], first["chosen_length"], first["rejected_length"]) == (1.0, 5.0, 2.0)
    assert (second["pairs"], second["longer_chosen"], second["chosen_length"], second["rejected_length"]) == (2, 0.5, 3.5, 5.0)


def test_overlap_of_two_experiments(small):
    (found,) = ask(small, "pair_overlap", left="small", right="other", fresh=True)[:1]
    assert (found["left_prompts"], found["right_prompts"], found["prompt_jaccard"], found["content_jaccard"]) == (1, 1, 1.0, 0.0)
