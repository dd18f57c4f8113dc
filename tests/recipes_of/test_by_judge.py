"""SPPO, SPO and INPO with a judge instead of scores: here the policy itself, asked which of two answers it finds better."""

from __future__ import annotations

import math

import pytest

from ran_recipe import ran

pytestmark = pytest.mark.recipes
JUDGE = [{"method": "judge", "params": {"model": "policy", "prompt": "duel.yaml"}, "orders": "forward"}]
VARIANTS = {
    "sppo": {"compare": JUDGE, "pairs": {"sql": "pairs/by_win_rate.sql", "params": {"judge": "judge"}}},
    "inpo": {"compare": JUDGE, "pairs": {"sql": "pairs/tournament.sql", "params": {"judge": "judge"}}},
    "spo": {
        "compare": JUDGE,
        "measure": [{"sql": "measures/win_rate.sql", "name": "win_rate", "params": {"judge": "judge", "include_self": False}}],
    },
}


@pytest.fixture(scope="module", params=VARIANTS)
def judged(request, tmp_path_factory):
    """(recipe, what ran)"""
    return request.param, ran(tmp_path_factory.mktemp(request.param), request.param, over=VARIANTS[request.param])


def chances(found, round_):
    """P(a beats b) by (a, b), from the rows of `preferences`."""
    made = {}
    for row in found.rows("preferences", round_, "rollout/judge"):
        made[row["left_id"], row["right_id"]] = row["probability"]
        made[row["right_id"], row["left_id"]] = 1 - row["probability"]
    return made


def knock_out(answers, chance, sign):
    """The answer that goes on to the end; the earlier one in a tie, an odd one out without a match."""
    while len(answers) > 1:
        met = [answers[i : i + 2] for i in range(0, len(answers), 2)]
        answers = [m[0] if len(m) == 1 or sign * (chance[m[0], m[1]] - 0.5) >= 0 else m[1] for m in met]
    return answers[0]


def test_every_two_answers_of_a_prompt_meet(judged):
    _, found = judged
    for round_ in (0, 1):
        chance = chances(found, round_)
        for of in found.answers(round_).values():
            names = [a["generation_id"] for a in of]
            assert all((a, b) in chance and chance[a, b] + chance[b, a] == 1 for a in names for b in names if a != b)
        assert len({*chance.values()} - {0.5}) > 2


def test_who_trains_is_who_wins_and_loses(judged):
    name, found = judged
    for round_ in (0, 1):
        chance, pairs = chances(found, round_), {row["prompt_id"]: row for row in found.rows("pairs", round_)}
        assert pairs
        for prompt, of in found.answers(round_).items():
            names = [a["generation_id"] for a in of]
            if name == "inpo":
                best, worst = knock_out(names, chance, 1), knock_out(names, chance, -1)
                assert (best == worst) == (prompt not in pairs)
                if best != worst:
                    assert (pairs[prompt]["chosen_id"], pairs[prompt]["rejected_id"]) == (best, worst)
                    assert pairs[prompt]["probability"] == pytest.approx(chance[best, worst])
                continue
            own = 0.5 if name == "sppo" else 0.0
            won = {a: math.fsum([own, *(chance[a, b] for b in names if b != a)]) / (len(names) - (name == "spo")) for a in names}
            most, least = max(won.values()), min(won.values())
            assert math.fsum(won.values()) == pytest.approx(len(names) / 2)
            if prompt in pairs:
                row = pairs[prompt]
                assert won[row["chosen_id"]] == pytest.approx(most) and won[row["rejected_id"]] == pytest.approx(least)
                assert row["margin"] == pytest.approx(most - least)
            else:
                assert most == pytest.approx(least)
