"""Recipes whose models judge in the loop: what trained is worked out again in plain Python from the answers and their numbers."""

from __future__ import annotations

import json
import math
import statistics
from functools import cache
from itertools import permutations, product

import pytest

import heads_tiny
from ran_recipe import expected, ids, ran

pytestmark = pytest.mark.recipes
ROUNDS = (0, 1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Gives a recipe's two rounds and their folder, which run when a test first asks for them."""

    @cache
    def give(name):
        folder = tmp_path_factory.mktemp(name)
        # a base that some answers come out right of
        made = ran(folder, name, "prompts.per_round=24", "base.train.max_steps=8")
        return made, folder

    return give


def fresh(run, table, round_, part):
    return [row for row in run.rows(table, round_, part) if row["source_round"] == round_]


def parents(run, role):
    return [run.experiment.checkpoint(round_, role).row["parents"] for round_ in ROUNDS]


def digests(run, role):
    return [run.experiment.checkpoint(round_, role).row["digest"] for round_ in ROUNDS]


def numbers(of, name):
    return {one["generation_id"]: one["numbers"].get(name) for one in of}


def crossed(answers, name, low, high):
    """Every answer with at least `high` against every one with at most `low`, as ids."""
    found = set()
    for of in answers.values():
        own = numbers(of, name)
        found |= {(a, b) for a, b in permutations(own, 2) if None not in (own[a], own[b]) and own[a] >= high and own[b] <= low}
    return found


def base(run):
    return run.experiment.checkpoint(-1).row["digest"]


def test_qwen_math_ranks_right_answers_by_the_reward_model_of_the_round(runs):
    run, _ = runs("qwen-math")
    assert parents(run, "policy") == [[base(run)]] * 2  # each round trains the base anew
    assert parents(run, "reward") == [[run.policy(round_)] for round_ in ROUNDS]
    for round_ in ROUNDS:
        answers, pairs = run.answers(round_), fresh(run, "pairs", round_, "reward")
        assert ids(pairs) == crossed(answers, "score", 0.999, 1.0)
        total = {prompt: math.fsum(row["weight"] for row in pairs if row["prompt_id"] == prompt) for prompt in answers}
        assert pairs and all(value == pytest.approx(1) for value in total.values() if value)
        wanted = set()
        for of in answers.values():
            right = sorted((one for one in of if one["numbers"]["score"] >= 1), key=lambda one: -one["numbers"]["rm"])
            best = {one["response"]: one["generation_id"] for one in reversed(right)}  # the same text once
            wanted |= set([one["generation_id"] for one in right if best[one["response"]] == one["generation_id"]][:4])
        assert {row["generation_id"] for row in fresh(run, "selected", round_, "policy")} == wanted
    assert {row["source_round"] for row in run.rows("pairs", 1, "reward")} == {0, 1}


def entropy(p):
    return -math.fsum(x * math.log(x) for x in (p, 1 - p) if x > 0)


def test_upo_keeps_pairs_that_the_estimator_agrees_with(runs):
    run, _ = runs("upo")
    assert parents(run, "policy") == [[run.policy(round_)] for round_ in ROUNDS]
    for role in ("reward", "estimator"):
        assert parents(run, role) == [[base(run)], [digests(run, role)[0]]]
    for round_ in ROUNDS:
        answers, pairs = run.answers(round_), run.rows("pairs", round_)
        assert ids(run.rows("pairs", round_, "reward")) == expected(answers)
        seen = {(row["left_id"], row["right_id"]): row for row in run.rows("preferences", round_, "rollout/estimator")}
        places = {}
        for of in answers.values():
            order = sorted(of, key=lambda one: -one["numbers"]["rm"])
            places |= {one["generation_id"]: min(i, len(order) - 1 - i) for i, one in enumerate(order)}
        rm = {one["generation_id"]: one["numbers"]["rm"] for of in answers.values() for one in of}
        assert pairs and len({row["prompt_id"] for row in pairs}) == len(pairs)
        for row in pairs:
            chosen, rejected = row["chosen_id"], row["rejected_id"]
            passes = json.loads(seen[chosen, rejected]["detail"])["passes"]
            assert rm[chosen] > rm[rejected] and max(places[chosen], places[rejected]) < 2
            assert sum(p > 0.5 for p in passes) > len(passes) / 2
            bald = entropy(statistics.fmean(passes)) - statistics.fmean(map(entropy, passes))
            assert dict(row["extra"])["uncertainty"] == pytest.approx(bald, abs=1e-9)
            assert row["ref_chosen_logps"] < 0


def test_itercomp_draws_the_policy_to_the_target_of_all_reward_models(runs):
    run, _ = runs("itercomp")
    aspects = ("right", "whole", "plain")
    for round_ in ROUNDS:
        answers = run.answers(round_)
        flat = [one for of in answers.values() for one in of]
        assert {one["actor"] for one in flat} == {"policy", "earlier-1", "base"}
        own = {}
        for name in aspects:
            given = [one["numbers"][f"rm_{name}"] for one in flat]
            mean, spread = statistics.fmean(given), statistics.pstdev(given)
            own[name] = {one["generation_id"]: (value - mean) / spread for one, value in zip(flat, given, strict=True)}
        for one in flat:
            short = math.fsum(max(0.0, 2 - own[name][one["generation_id"]]) for name in aspects)
            assert one["numbers"]["reached"] == pytest.approx(-0.001 * short, abs=1e-9)
        pairs, reached = run.rows("pairs", round_), {one["generation_id"]: one["numbers"]["reached"] for one in flat}
        best = {prompt: max(numbers(of, "reached").values()) for prompt, of in answers.items()}
        worst = {prompt: min(numbers(of, "reached").values()) for prompt, of in answers.items()}
        assert {row["prompt_id"] for row in pairs} == {prompt for prompt in answers if best[prompt] > worst[prompt]}
        assert all((reached[r["chosen_id"]], reached[r["rejected_id"]]) == (best[r["prompt_id"]], worst[r["prompt_id"]]) for r in pairs)
        for name in aspects:
            judged = run.rows("preferences", round_, f"rollout/{name}")
            wins = {(r["left_id"], r["right_id"]) if r["probability"] > 0.5 else (r["right_id"], r["left_id"])
                    for r in judged if r["probability"] != 0.5}  # fmt: skip
            assert ids(fresh(run, "pairs", round_, f"reward-{name}")) == wins
    for name in aspects:
        assert parents(run, f"reward-{name}") == [[base(run)]] * 2
        assert {row["source_round"] for row in run.rows("pairs", 1, f"reward-{name}")} == {0, 1}


def test_rerank_selftrain_brings_the_reranker_its_own_mistakes(runs):
    run, _ = runs("rerank-selftrain")
    assert parents(run, "reward") == [[base(run)], [digests(run, "reward")[0]]]
    for round_ in ROUNDS:
        answers = run.answers(round_)
        assert ids(fresh(run, "pairs", round_, "reward")) == crossed(answers, "score", 0.999, 1.0)
        for row in run.rows("selected", round_):
            own = [one["numbers"]["rm"] for one in answers[row["prompt_id"]] if one["numbers"]["score"] >= 1]
            assert numbers(answers[row["prompt_id"]], "rm")[row["generation_id"]] == max(own)
    hard = set()
    for of in run.answers(0).values():
        right = [one for one in of if one["numbers"]["score"] >= 1]
        liked = [one for one in of if one["numbers"]["score"] < 1 and right]
        liked = [one for one in liked if one["numbers"]["rm"] > max(other["numbers"]["rm"] for other in right)]
        hard |= {(a["generation_id"], b["generation_id"]) for a, b in product(right, liked)}
    old = [row for row in run.rows("pairs", 1, "reward") if row["source_round"] == 0]
    assert {(row["chosen_id"], row["rejected_id"]) for row in old if row["weight"] == 2} == hard != set()
    assert ids(old) == ids(run.rows("pairs", 0, "reward")) and len(old) == len(run.rows("pairs", 0, "reward"))


def test_okapi_learns_the_ranks_that_the_judge_gives(runs):
    run, _ = runs("okapi")
    assert parents(run, "reward") == [[base(run)]] * 2 and parents(run, "policy") == [[run.policy(round_)] for round_ in ROUNDS]
    for round_ in ROUNDS:
        answers = run.answers(round_)
        wanted = set()
        for of in answers.values():
            own = numbers(of, "win_rate")
            assert math.fsum(own.values()) == pytest.approx(len(of) / 2)
            wanted |= {(a, b) for a, b in permutations(own, 2) if own[a] > own[b]}
        assert ids(fresh(run, "pairs", round_, "reward")) == wanted
        chosen = {row["prompt_id"]: row["generation_id"] for row in run.rows("selected", round_)}
        assert set(chosen) == set(answers)
        assert all(numbers(of, "rm")[chosen[p]] == max(numbers(of, "rm").values()) for p, of in answers.items())


def test_self_rationalization_chooses_judgements_that_hit_the_gold_score(runs):
    run, _ = runs("self-rationalization")
    for round_ in ROUNDS:
        wanted = {}
        for prompt, of in run.answers(round_).items():
            own = numbers(of, "distance")
            hits = [item for item, value in own.items() if value is not None and value >= -40]
            wanted[prompt] = set(product(hits, [item for item, value in own.items() if value is None or value <= -41]))
        pairs = run.rows("pairs", round_)
        assert ids(pairs) <= set().union(*wanted.values()) and pairs
        for prompt, of in wanted.items():
            assert sum(row["prompt_id"] == prompt for row in pairs) == min(8, len(of))
    assert run.logged(0)[1] == pytest.approx(math.log(2), abs=1e-3)  # the reference is the policy


def test_sami_trains_on_whole_matrices_of_answers_and_constitutions(runs):
    run, _ = runs("sami")
    for round_ in ROUNDS:
        said = {row["generation_id"]: row for row in run.rows("generations", round_, "followup/constitutions")}
        by_prompt = {}
        for row in run.rows("selected", round_):
            by_prompt.setdefault(row["prompt_id"], {})[tuple(dict(row["extra"])[k] for k in ("constitution", "response"))] = row
        assert by_prompt
        for matrix in by_prompt.values():
            assert set(matrix) == set(product((0.0, 1.0), repeat=2))
            for (i, j), row in matrix.items():
                answer = said[row["generation_id"]]
                lines = [["1+", "2+"], ["3+", "4+"]]
                shown, asked = row["messages"][0]["content"], answer["messages"][0]["content"]
                assert any(line in asked for line in lines[int(j)]) and sorted(shown.split(" ")[0].split("\n")) == lines[int(i)]
                assert row["messages"][1]["content"] == answer["response"] and row["messages"][0]["weight"] == 0
            assert len({row["messages"][1]["content"] for row in matrix.values()}) == 2
        assert run.logged(round_, "mutual_information")[1] == pytest.approx(math.log(2) - run.logged(round_)[1], abs=1e-5)


def test_salmon_asks_the_reward_model_under_principles_of_choice(runs):
    run, folder = runs("salmon")
    for round_ in ROUNDS:
        pairs, answers = run.rows("pairs", round_, "reward"), run.answers(round_)
        told = {row["item_id"]: row for row in run.rows("scores", round_, "rollout/salmon")}
        for row in (one for one in pairs if one["source_round"] == round_):
            win, lost = told[row["chosen_id"]], told[row["rejected_id"]]
            assert (win["value"], lost["value"]) == (1, 0)
            assert row["messages"][-1]["content"].startswith(win["detail"].partition(":")[0] + " ")
        decided = {row["prompt_id"] for row in told.values() if row["value"] is not None}
        assert {row["prompt_id"] for row in pairs if row["source_round"] == round_} == decided != set()
        model = folder / "checkpoints" / digests(run, "reward")[round_]
        asked = {row["prompt_id"]: row["messages"][-1]["content"] for row in run.rows("prompts", round_, "train")}
        prompt, of = next(iter(answers.items()))
        for name, text in (("rm_helpful", "helpful "), ("rm_honest", "not honest ")):
            wanted = heads_tiny.plain(model, text + asked[prompt] + of[0]["response"])[0]
            assert of[0]["numbers"][name] == pytest.approx(wanted, abs=6e-4)
        best = {row["prompt_id"]: row["generation_id"] for row in run.rows("selected", round_)}
        assert all(numbers(of, "reward")[best[p]] == max(numbers(of, "reward").values()) for p, of in answers.items())
