"""sql/select/clear.sql: the filter by confidence and the correction by duels or scores."""

from __future__ import annotations

import pytest

from engine.errors import QueryError, StepError
from target_lake import lake, said, select


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
