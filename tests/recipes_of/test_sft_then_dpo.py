"""A budget of examples shared between demonstrations and pairs: the shares, their ends, and what two rounds of the recipe train on."""

from __future__ import annotations

import pytest

from engine.errors import QueryError
from engine.pairs.fill import pair
from engine.plan.steps import PlanStep
from engine.select.fill import select
from engine.spec import Plan
from engine.stepsql import StepSql
from ran_recipe import TINY, best_worst, ran
from small_lake import SmallLake, spec


def rows_of(small, kind, sql, **params):
    one = spec(select={"sql": f"select/{sql}.sql", "params": params} if kind == "select" else {"sql": "select/raft.sql"})
    made = StepSql.load(f"{kind}/{sql}.sql", params, "selected" if kind == "select" else "pairs", small.folder / "spec.yaml")
    return (select if kind == "select" else pair)(small.context(one), made)


def shared(small, **params):
    """(prompts of demonstrations, prompts of pairs) under a plan."""
    step = PlanStep(Plan(name="budget", sql="plan/budget_share.sql", params=params), small.folder / "spec.yaml")
    small.keep(step.run(small.context(spec())), 0)
    return tuple(set(rows_of(small, kind, "budget_share")["prompt_id"].to_pylist()) for kind in ("select", "pairs"))


@pytest.fixture
def small(tmp_path):
    """40 prompts with a right and a wrong answer, one whose answers are equally good, and one that is never right."""
    made = SmallLake(tmp_path)
    names = [f"p{i:02}" for i in range(40)]
    made.prompts([*names, "same", "wrong"])
    rows = [(name, text, score) for name in names for text, score in (("a", 0.0), ("b", 1.0), ("c", 1.0), ("d", 0.5))]
    made.answers([*rows, ("same", "a", 1.0), ("same", "b", 1.0), ("wrong", "a", 0.0), ("wrong", "b", 0.5)])
    return made


def test_shares_are_disjoint_and_add_up_to_the_budget(small):
    everything = {f"p{i:02}" for i in range(40)}
    for rho, budget, demonstrations, pairs in ((0.1, None, 4, 36), (0.25, None, 10, 30), (0.5, 20, 10, 10), (0.75, 20, 15, 5)):
        one, other = shared(small, rho=rho, budget=budget)
        assert (len(one), len(other)) == (demonstrations, pairs)
        assert not one & other and one | other <= everything
    less, _ = shared(small, rho=0.1)
    more, _ = shared(small, rho=0.5)
    assert less < more  # a larger share adds examples and takes none away


def test_an_unknown_plan_or_share_is_named(small):
    with pytest.raises(QueryError, match="rho: expected a share above 0 and below 1, found 1"):
        shared(small, rho=1.0)
    with pytest.raises(QueryError, match="no entry of plan called other gives rho"):
        shared(small, rho=0.5)
        rows_of(small, "select", "budget_share", plan="other")


def test_both_train_what_the_plain_recipes_would(small):
    shared(small, rho=0.5)
    raft = {row["prompt_id"]: row["generation_id"] for row in rows_of(small, "select", "raft").to_pylist()}
    online = {row["prompt_id"]: (row["chosen_id"], row["rejected_id"]) for row in rows_of(small, "pairs", "best_worst").to_pylist()}
    rows, pairs = rows_of(small, "select", "budget_share").to_pylist(), rows_of(small, "pairs", "budget_share").to_pylist()
    assert all(row["generation_id"] == raft[row["prompt_id"]] for row in rows)
    assert all((row["chosen_id"], row["rejected_id"]) == online[row["prompt_id"]] and row["margin"] == 1.0 for row in pairs)


@pytest.mark.recipes
def test_two_rounds_train_pairs_from_the_checkpoint_of_the_demonstrations(tmp_path):
    tiny = [f"train.1.{key}={value}" for key, value in TINY.items()]
    done = ran(tmp_path, "sft-then-dpo", *tiny, "plan.0.params.rho=0.5")
    for round_ in (0, 1):
        both = {name: best_worst(own) for name, own in done.answers(round_).items()}
        both = {name: found for name, found in both.items() if found}
        rows, pairs = done.rows("selected", round_, "sft"), done.rows("pairs", round_)
        assert len(rows) == int(0.5 * len(both) + 0.5)
        assert {row["prompt_id"] for row in rows} | {row["prompt_id"] for row in pairs} == set(both)
        assert len(rows) + len(pairs) == len(both)
        assert all(row["generation_id"] == both[row["prompt_id"]][0]["generation_id"] for row in rows)
        assert all([row["chosen_id"], row["rejected_id"]] == [one["generation_id"] for one in both[row["prompt_id"]]] for row in pairs)
        first, second = done.experiment.checkpoint(round_, "sft"), done.experiment.checkpoint(round_)
        assert first.row["parents"] == [done.policy(round_)] and second.row["parents"] == [first.digest]
        assert done.logged(round_)[1] == pytest.approx(0.693147, abs=1e-3)  # the reference is the checkpoint it starts from
