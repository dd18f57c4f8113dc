"""Budgets of answers by difficulty and by cluster: exact totals, bounds, and where the fail rates come from."""

import pytest

from engine.errors import QueryError
from engine.plan.steps import PlanStep
from engine.spec import Plan
from small_lake import SmallLake, spec


def _plan(small, sql, round_=1, **params):
    one = spec(plan=[{"name": "own", "sql": sql, "params": params}], cluster=[{"name": "prompt", "of": "prompts", "k": 2}])
    step = PlanStep(Plan(name="own", sql=sql, params=params), small.folder / "spec.yaml")
    step.check(one, small.folder / "spec.yaml")
    rows = step.run(small.context(one, round_)).rows["plan", "own"].to_pylist()
    assert {row["key"] for row in rows} == {params.get("key", "samples")}
    return {row["item_id"]: int(row["value"]) for row in rows}


def _by_difficulty(small, round_=1, **params):
    return _plan(small, "plan/samples_by_difficulty.sql", round_, **params)


def _by_cluster(small, round_=1, **params):
    return _plan(small, "plan/samples_by_cluster.sql", round_, **params)


def _rows(prompt, right, wrong):
    return [(prompt, "no", 0.0)] * wrong + [(prompt, "yes", 1.0)] * right


@pytest.fixture
def small(tmp_path):
    """Round 0 asked a (never failed), b (half) and c (always failed), round 1 has them and d."""
    made = SmallLake(tmp_path)
    made.prompts(["a", "b", "c"], round_=0, topics={"a": "easy", "b": "hard", "c": "hard"})
    made.answers(_rows("a", 4, 0) + _rows("b", 2, 2) + _rows("c", 0, 4), round_=0)
    made.prompts(["a", "b", "c", "d"], round_=1, topics={"a": "easy", "b": "hard", "c": "hard", "d": "easy"})
    return made


@pytest.mark.slow
def test_hard_prompts_get_more_and_the_total_is_kept(small):
    # 40 in all, 1 each: 36 to share by 0.001, 0.5, 1, 0.5
    assert _by_difficulty(small, samples=10) == {"a": 1, "b": 10, "c": 19, "d": 10}
    assert _by_difficulty(small, samples=10, power=0) == dict.fromkeys("abcd", 10)
    assert _by_difficulty(small, samples=10, power=2) == {"a": 1, "b": 7, "c": 25, "d": 7}
    for total in range(4, 41):
        found = _by_difficulty(small, total=total, most=12) if total <= 48 else {}
        assert sum(found.values()) == total and min(found.values()) >= 1 and max(found.values()) <= 12
        assert found["a"] <= found["b"] <= found["c"]


def test_full_prompts_pass_on_what_they_cannot_take(small):
    assert _by_difficulty(small, samples=10, most=13) == {"a": 1, "b": 13, "c": 13, "d": 13}
    assert _by_difficulty(small, samples=10, most=12) == {"a": 4, "b": 12, "c": 12, "d": 12}, "only the easy one has room"
    assert _by_difficulty(small, samples=10, most=10) == dict.fromkeys("abcd", 10)
    assert _by_difficulty(small, samples=2, least=2) == dict.fromkeys("abcd", 2)


@pytest.mark.parametrize("params", [{"samples": 10, "most": 9}, {"samples": 1, "least": 2}])
def test_a_budget_that_cannot_be_spent_is_an_error(small, params):
    with pytest.raises(QueryError, match="answers to 4 prompts: expected"):
        _by_difficulty(small, **params)


def test_before_any_history_all_get_the_same(small):
    assert _by_difficulty(small, 0, samples=5) == dict.fromkeys("abc", 5)


def test_topics_stand_for_prompts_that_are_new(small):
    # easy 0, hard 6 of 8 wrong: 36 by 0.001, 0.75, 0.75, 0.001
    assert _by_difficulty(small, samples=10, by="topic") == {"a": 1, "b": 19, "c": 19, "d": 1}


def test_the_last_round_that_asked_counts(small):
    small.answers(_rows("a", 0, 2), round_=1)
    small.prompts(["a", "b"], round_=2)
    assert _by_difficulty(small, 2, samples=7) == {"a": 9, "b": 5}


def test_a_column_may_say_how_hard_prompts_are(small):
    rows = [{"prompt_id": p, "split": "train", "difficulty": d} for p, d in (("a", 1.0), ("b", 5.0), ("c", 3.0), ("d", None))]
    small.put("prompts", "train", rows, 1)
    assert _by_difficulty(small, samples=10, by="difficulty") == {"a": 1, "b": 19, "c": 10, "d": 10}


def test_caps_for_waves_and_wrong_words(small):
    assert _by_difficulty(small, samples=10, key="cap")["c"] == 19
    for params, text in (({"key": "right"}, "expected samples or cap"), ({"by": "size"}, "expected prompt, topic, task or difficulty")):
        with pytest.raises(QueryError, match=text):
            _by_difficulty(small, **params)


def _clustered(small):
    old, new = {"a": 0, "b": 1, "c": 1}, {"a": 0, "b": 1, "c": 1, "d": 0}
    for round_, members in ((0, old), (1, new)):
        rows = [{"item_id": item, "cluster_id": cluster, "distance": 0.0} for item, cluster in members.items()]
        small.put("clusters", "prompt", rows, round_)


def test_clusters_that_scored_badly_get_more(small):
    _clustered(small)
    # cluster 0: gap 0; cluster 1: 0.75
    assert _by_cluster(small, samples=10) == {"a": 1, "b": 19, "c": 19, "d": 1}
    assert _by_cluster(small, samples=10, most=17) == {"a": 3, "b": 17, "c": 17, "d": 3}
    small.put("clusters", "prompt", [{"item_id": p, "cluster_id": 7, "distance": 0.0} for p in "abcd"], 1)
    assert _by_cluster(small, samples=3) == dict.fromkeys("abcd", 3), "a cluster that nobody asked"
    assert _by_cluster(small, samples=10, key="cap") == dict.fromkeys("abcd", 10)


def test_a_table_gives_each_cluster_its_number(small):
    _clustered(small)
    assert _by_cluster(small, samples=3, table=[{"cluster": 1, "samples": 6}]) == {"a": 3, "b": 6, "c": 6, "d": 3}
    assert _by_cluster(small, samples=3, table=[{"cluster": 1, "samples": 0}])["b"] == 0


def test_every_prompt_needs_a_cluster(small):
    with pytest.raises(QueryError, match="has no cluster in the part"):
        _by_cluster(small)
