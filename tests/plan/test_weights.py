"""Weights of groups by SQL: clusters far from gold, Skill-It, learning progress."""

import json

import pytest

from engine.errors import QueryError
from engine.plan.steps import PlanStep
from engine.spec import Plan
from small_lake import SmallLake, spec


def plan(small, sql, round_=0, name=None, **params):
    entry = {"name": name or sql, "sql": f"plan/{sql}.sql", "params": params}
    one = spec(plan=[entry], cluster=[{"name": "prompt", "k": 3}])
    step = PlanStep(Plan(**entry), small.folder / "spec.yaml")
    step.check(one, small.folder / "spec.yaml")
    output = step.run(small.context(one, round_))
    small.keep(output, round_)
    rows = output.rows["plan", entry["name"]].to_pylist()
    assert {row["key"] for row in rows} <= {"weight"}
    return {row["item_id"]: json.loads(row["value"]) for row in rows}


def near(**values):
    return pytest.approx(values, abs=5e-6)


# --- cluster_weights


def clustered(tmp_path, gaps, rounds=(0, 1), chosen=True, meta=None):
    """Cluster j has two prompts whose answers miss a gold reward of 1 by gaps[j] in the mean; the first was chosen in round 0."""
    small = SmallLake(tmp_path)
    for round_ in rounds:
        rows = [{"prompt_id": f"{j}{p}", "split": "train", "messages": [], "meta": meta} for j in range(len(gaps)) for p in "ab"]
        small.put("prompts", "train", rows, round_)
        small.put("clusters", "prompt", [{"item_id": row["prompt_id"], "cluster_id": int(row["prompt_id"][0])} for row in rows], round_)
        # the second prompt would tell otherwise; only "answered" counts it
        answers = [(f"{j}{p}", str(a), (1 - gap) * 2 * a if p == "a" else 1.0) for j, gap in enumerate(gaps) for p in "ab" for a in (0, 1)]
        small.answers(answers, round_=round_)
    if chosen:
        small.put("selected", "policy", [{"row_id": f"{j}", "prompt_id": f"{j}a", "source_round": 0} for j in range(len(gaps))], 0)
    return small


def test_cluster_weights_by_softmax_and_before_anything_is_chosen(tmp_path):
    small = clustered(tmp_path, [0.2, -0.1, 1.0])
    assert plan(small, "cluster_weights", 0) == near(**{"0": 1 / 3, "1": 1 / 3, "2": 1 / 3})
    assert plan(small, "cluster_weights", 1) == near(**{"0": 0.252120, "1": 0.186775, "2": 0.561104})
    halves = plan(small, "cluster_weights", 1, over="answered", temperature=0.5)
    assert halves == near(**{"0": 0.252120, "1": 0.186775, "2": 0.561104})  # half the gaps at half the temperature
    with pytest.raises(QueryError, match="over: expected selected or answered"):
        plan(small, "cluster_weights", 1, over="all")
    with pytest.raises(QueryError, match="rule: expected softmax or multiplicative"):
        plan(small, "cluster_weights", 1, rule="add")


def test_cluster_weights_multiplied_from_round_to_round(tmp_path):
    small = clustered(tmp_path, [1.2, 0.9, 3.0])
    before = [{"key": "weight", "item_id": str(j), "value": str(w)} for j, w in enumerate([0.5, 0.3, 0.2])]
    small.put("plan", "cluster_weights", before, 0)
    small.put("plan", "other", [row | {"value": "9"} for row in before], 0)
    expected = near(**{"0": 0.408163, "1": 0.183673, "2": 0.408163})
    assert plan(small, "cluster_weights", 1, rule="multiplicative") == expected
    # a gold reward of 2 raises all gaps by one
    wide = plan(small, "cluster_weights", 1, rule="multiplicative", gold=2.0)
    assert wide == near(**{"0": 1.1 / 2.47, "1": 0.57 / 2.47, "2": 0.8 / 2.47})
    small = clustered(tmp_path / "gold", [1.2, 0.9, 3.0], meta='{"gold_reward": 2.0}')
    small.put("plan", "cluster_weights", before, 0)
    assert plan(small, "cluster_weights", 1, rule="multiplicative", gold_column="gold_reward") == wide


def test_a_cluster_that_nothing_was_chosen_from_gets_the_mean_weight(tmp_path):
    small = clustered(tmp_path, [0.2, -0.1, 1.0, 0.5])
    small.put("selected", "policy", [{"row_id": f"{j}", "prompt_id": f"{j}a", "source_round": 0} for j in range(3)], 0)
    found = plan(small, "cluster_weights", 1)
    assert found["3"] == pytest.approx(0.25) and sum(found.values()) == pytest.approx(1)
    assert [found[j] / 0.75 for j in "012"] == pytest.approx([0.252120, 0.186775, 0.561104], abs=5e-6)
    small.put("selected", "policy", [{"row_id": "x", "prompt_id": "elsewhere", "source_round": 0}], 0)
    with pytest.raises(QueryError, match="none of the prompts that were chosen is answered in this round"):
        plan(small, "cluster_weights", 1)


# --- skill_it

EDGES = [{"from": "a", "to": "b", "weight": 0.5}]


def evaluated(tmp_path, losses, metric="pass@1", complement=True):
    """Evaluations of topics a and b: the base, then one round for each pair of losses."""
    small = SmallLake(tmp_path)
    for round_, pair in enumerate([(0.5, 0.25), *losses], start=-1):
        rows = [
            {
                "suite": suite,
                "metric": metric,
                "topic": topic,
                "value": (1 - loss if complement else loss) if suite == "gate" else 0.0,
                "n": 5,
            }
            for topic, loss in zip("ab", pair, strict=True)
            for suite in ("gate", "test")
        ]
        small.put("evaluations", "policy", [*rows, {"suite": "gate", "metric": metric, "value": 0.9, "n": 10}], round_)
    return small


LOSSES = [(2, 1), (1.5, 0.9), (1, 0.8)]


def test_skill_it(tmp_path):
    small = evaluated(tmp_path, LOSSES, "loss", complement=False)
    given = {"metric": "loss", "loss": "metric", "edges": EDGES}
    assert plan(small, "skill_it", 0, **given) == near(a=0.562177, b=0.437823)
    assert plan(small, "skill_it", 3, **given) == near(a=0.828495, b=0.171505)
    assert plan(small, "skill_it", 3, **given, aggregate="mean") == near(a=0.628316, b=0.371684)
    last = plan(small, "skill_it", 3, **given, window=1)
    assert last["a"] / last["b"] == pytest.approx(2.718281828 ** (0.5 * (1 + 0.5 * 0.8 - 0.8)))
    scaled = plan(small, "skill_it", 1, **given, normalize=True)  # losses 2 / 0.5 and 1 / 0.25
    assert scaled["a"] / scaled["b"] == pytest.approx(2.718281828 ** (0.5 * (4 + 0.5 * 4 - 4)))
    assert plan(evaluated(tmp_path / "acc", LOSSES), "skill_it", 3, edges=EDGES) == near(a=0.828495, b=0.171505)


def test_skill_it_without_a_graph_and_with_equal_losses_is_uniform(tmp_path):
    small = evaluated(tmp_path, [(0.5, 0.5)] * 3)
    assert plan(small, "skill_it", 3) == near(a=0.5, b=0.5)
    assert plan(small, "skill_it", 3, prior=[{"item": "a", "weight": 3}]) == near(a=0.75, b=0.25)
    assert plan(small, "skill_it", 3, edges=[{"from": t, "to": t, "weight": w} for t, w in (("a", 2), ("b", 0))], eta=1.0) == near(
        a=0.952574, b=0.047426
    )  # exponents 2 x 1.5 and 0
    helper = plan(small, "skill_it", 3, edges=[{"from": "c", "to": "a", "weight": 1}], prior=[{"item": "d", "weight": 1}])
    assert helper["c"] == pytest.approx(helper["a"]) and 0 < helper["d"] < helper["a"]


def test_skill_it_says_what_is_missing(tmp_path):
    small = evaluated(tmp_path, LOSSES)
    with pytest.raises(QueryError, match="no maj@4 by topic on the split gate was measured"):
        plan(small, "skill_it", 1, metric="maj@4")
    with pytest.raises(QueryError, match="aggregate: expected sum or mean"):
        plan(small, "skill_it", 1, aggregate="max")
    small = evaluated(tmp_path / "zero", [(0.5, 0.5)])
    small.put("evaluations", "policy", [{"suite": "gate", "metric": "pass@1", "topic": t, "value": 1.0, "n": 5} for t in "ab"], -1)
    with pytest.raises(QueryError, match=r"topic [ab] has no loss above 0"):
        plan(small, "skill_it", 1, normalize=True)


# --- learning_progress


def learned(tmp_path, *rounds):
    """Rounds as {topic: share of ten answers that are right}."""
    small = SmallLake(tmp_path)
    for round_, rates in enumerate(rounds):
        topics = {f"{t}{i}": t for t in rates for i in (0, 1)}
        small.prompts(list(topics), round_=round_, topics=topics)
        small.answers([(p, str(a), float(a < 10 * rates[t] - 1e-9)) for p, t in topics.items() for a in range(10)], round_=round_)
    return small


def test_learning_progress(tmp_path):
    small = learned(tmp_path, {"a": 0.2, "b": 0.5, "c": 0.9}, {"a": 0.3, "b": 0.2, "c": 0.3})
    assert plan(small, "learning_progress", 0) == {}
    assert plan(small, "learning_progress", 1) == near(a=1 / 3, b=1 / 3, c=1 / 3)
    assert plan(small, "learning_progress", 2) == near(a=0.146667, b=0.306667, c=0.546667)
    assert plan(small, "learning_progress", 2, uniform=1.0) == near(a=1 / 3, b=1 / 3, c=1 / 3)
    still = learned(tmp_path / "still", {"a": 0.2, "b": 0.5}, {"a": 0.2, "b": 0.5})
    assert plan(still, "learning_progress", 2) == near(a=0.5, b=0.5)


def test_learning_progress_of_groups_that_come_and_go(tmp_path):
    small = learned(tmp_path, {"a": 0.2, "b": 0.5}, {"b": 0.1}, {"a": 0.4, "new": 0.5})
    # a: |0.4 - 0.2| over a gap, b: |0.1 - 0.5|, new: the mean of both
    assert plan(small, "learning_progress", 3) == near(a=0.2 / 3 + 0.8 * 2 / 9, b=0.2 / 3 + 0.8 * 4 / 9, new=0.2 / 3 + 0.8 * 3 / 9)
    assert list(plan(small, "learning_progress", 3, by="task")) == ["null"]
