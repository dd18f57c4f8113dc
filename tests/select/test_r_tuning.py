"""sql/select/r_tuning.sql: what is certain by answer, by verdict and by entropy; verdicts and refusals that train."""

from __future__ import annotations

import math

import pytest

from engine.errors import QueryError
from engine.specfile import recipes
from engine.yamlfile import read_yaml
from target_lake import lake, said, select


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
