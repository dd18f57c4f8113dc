"""The losses on pairs against printed numbers, closed forms, and each other."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import logsigmoid

from engine.train import objectives
from engine.train.losses import log_odds
from engine.train.pairwise import PairValues
from pairs_small import loss_of, pair_objectives

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
ANCHOR = {"chosen": -10.0, "rejected": -14.0, "ref_chosen": -12.0, "ref_rejected": -13.0}
LOG2 = math.log(2)


def ratios(chosen, rejected, **more):
    """Answers whose log-ratios to the reference are these."""
    return {"chosen": chosen, "rejected": rejected, "ref_chosen": 0.0, "ref_rejected": 0.0, **more}


def one(*args, **more):
    return loss_of(*args, **more).item()


PRINTED = [
    ("dpo", {}, {}, ANCHOR, VECTORS["dpo"]["loss"]),
    ("dpo", {"label_smoothing": 0.1}, {}, ANCHOR, VECTORS["dpo"]["cdpo_eps0.1"]),
    ("inpo", {"eta": 0.5, "tau": 0.2}, {}, {"chosen": 4.0, "rejected": 0.0, "ref_chosen": 0.4 * 1 + 0.6 * 3, "ref_rejected": 0.0}, 0.64),
    ("inpo", {}, {}, {"chosen": 4.0, "rejected": 0.0, "ref_chosen": 1 / 3 * 1 + 2 / 3 * 3, "ref_rejected": 0.0}, 4225.0),
    ("cream", {}, {"probability": 0.8}, ratios(5.0, 0.0), VECTORS["cream"]["loss_z0.5"]),
    ("cream", {}, {"probability": 1.0}, ratios(5.0, 0.0), 0.474077),
    ("cream", {}, {"probability": 0.5}, ratios(0.0, 0.0), LOG2),
    ("rpo", {"beta": 0.01, "coefficient": 0.005}, {}, ANCHOR, VECTORS["rpo"]["v1_beta0.01_eta0.005"]),
    (
        "rpo",
        {"beta": 0.5, "scale": "answer", "coefficient": 0.2},
        {},
        {**ANCHOR, "chosen_tokens": 5.0},
        VECTORS["rpo"]["v2_beta0.5_coef0.2_nll2"],
    ),
    ("tpo", {}, {}, {"chosen": -20.0, "rejected": -50.0, "third": -6.0, "third_tokens": 4.0}, VECTORS["tpo"]["beta0.01_-20_-50_nll1.5"]),
    (
        "tpo",
        {"beta": 10.0, "gamma": 0.5, "normalise": "tokens", "alpha": 0.0},
        {},
        {"chosen": -7.0, "chosen_tokens": 7.0, "rejected": -7.0, "rejected_tokens": 5.0, "third": -6.0, "third_tokens": 4.0},
        VECTORS["tpo"]["tpo_l"],
    ),
    ("asft", {"nll": 0.0}, {}, {"chosen": -7.0, "rejected": -6.0, "chosen_tokens": 10.0, "rejected_tokens": 5.0}, VECTORS["asft"]["align"]),
    ("asft", {}, {}, {"chosen": -0.7, "rejected": -1.2}, VECTORS["asft"]["total"]),
    ("orpo", {"weight": 1.0}, {}, {"chosen": -0.7, "rejected": -1.2}, 0.7 + 0.362516),
    ("dpo_norm", {}, {}, ratios(5.0, -2.0, chosen_tokens=50.0, rejected_tokens=40.0), VECTORS["tulu_dpo_norm"]["loss"]),
    ("sppo", {"eta": 10, "targets": "hard"}, {}, ratios(2.0, -3.0), VECTORS["sppo"]["trl_hard_beta0.1"]),
    ("sppo", {"eta": 1000, "targets": "hard"}, {}, ratios(2.0, -3.0), 495013.0),
]


@pytest.mark.parametrize("name, params, numbers, values, expected", PRINTED)
def test_printed_numbers(name, params, numbers, values, expected):
    assert one(name, params, numbers, **values) == pytest.approx(expected, abs=2e-6)


def test_sppo_takes_win_rates_of_scores_in_sums():
    given = VECTORS["sppo"]
    scores = torch.tensor(given["scores"], dtype=torch.float64)
    win = (scores[:, None] - scores[None]).sigmoid().mean(dim=1)
    assert win.tolist() == pytest.approx(given["win"], abs=5e-5)
    best = (scores.max() - scores.min()).sigmoid().item()
    assert best == pytest.approx(given["p_best_worst"], abs=2e-6)
    numbers = {"win_chosen": win.max(), "win_rejected": win.min(), "probability": best}
    values = ratios(*given["logratios"])
    assert one("sppo", {"eta": 10}, numbers, **values) == pytest.approx(given["loss_eta10"], abs=2e-6)
    assert one("sppo", {"eta": 1000}, numbers, **values) == pytest.approx(given["loss_eta1000"], abs=2e-4)
    assert one("sppo", {"eta": 1000, "targets": "single"}, numbers, **values) == pytest.approx(143108.93, abs=5e-3)
    # sums, not means: the lengths of the answers do not enter
    assert one("sppo", {"eta": 10}, numbers, **values, chosen_tokens=9.0) == one("sppo", {"eta": 10}, numbers, **values)


AT_THE_REFERENCE = {
    "dpo": ({}, LOG2),
    "ipo": ({}, 25.0),
    "hinge": ({}, 1.0),
    "robust": ({}, LOG2),
    "rpo": ({"coefficient": 0.0}, LOG2),
    "sppo": ({"eta": 10.0}, 0.5 * (3.0**2 + 2.0**2)),
    "inpo": ({}, (1 / 0.015) ** 2),
    "cream": ({}, LOG2),
    "upo": ({}, LOG2),
    "dpo_norm": ({}, LOG2),
    "reward_difference": ({}, 4.0),
    "exo_pair": ({}, 0.5 * (math.log(0.5 / 0.999) + math.log(0.5 / 0.001))),
    "nca_pair": ({}, 2 * LOG2),
    "bco_pair": ({}, 2 * LOG2),
    "apo_zero": ({}, 1.0),
    "apo_down": ({}, 1.0),
    "discopop": ({}, (1 + LOG2) / 2),
    "aot": ({}, LOG2),
}
NUMBERS = {"win_chosen": 0.8, "win_rejected": 0.3, "probability": 0.9, "margin": 2.0, "uncertainty": 0.1}


@pytest.mark.parametrize("name", [name for name in pair_objectives() if objectives.load(name).reference == "values"])
def test_where_the_model_is_the_reference(name):
    params, expected = AT_THE_REFERENCE[name]
    same = {"chosen": -30.0, "ref_chosen": -30.0, "rejected": -44.0, "ref_rejected": -44.0, "chosen_tokens": 9.0, "rejected_tokens": 12.0}
    assert one(name, params, NUMBERS, **same) == pytest.approx(expected, abs=1e-9)


def test_hard_sppo_is_50_at_the_reference_and_ipo_25_in_both_conventions():
    assert one("sppo", {"eta": 10, "targets": "hard"}, **ratios(0.0, 0.0)) == 50
    assert one("ipo", {"normalise": "none"}, **ratios(0.0, 0.0)) == pytest.approx(25)
    lengths = {"chosen_tokens": 10.0, "rejected_tokens": 4.0}
    assert one("ipo", {"normalise": "none"}, **ratios(4.0, 2.0, **lengths)) == pytest.approx(9.0)
    assert one("ipo", {"normalise": "tokens"}, **ratios(4.0, 2.0, **lengths)) == pytest.approx((0.4 - 0.5 - 5) ** 2)


# reference-free ones at a margin of 0, with both sides 10 tokens and -8 nats
FREE = {
    "simpo": ({}, -logsigmoid(torch.tensor(-1.0)).item()),
    "cpo": ({}, LOG2 + 0.8),
    "orpo": ({}, 0.8 + 0.1 * LOG2),
    "tpo": ({}, LOG2 + 1.5),
    "asft": ({}, 0.8 + 0.8 - math.log(1 - math.exp(-0.8))),
}


@pytest.mark.parametrize("name", [name for name in pair_objectives() if objectives.load(name).reference == "none"])
def test_reference_free_losses_where_both_answers_are_as_likely(name):
    params, expected = FREE[name]
    values = {"chosen": -8.0, "rejected": -8.0, "chosen_tokens": 10.0, "rejected_tokens": 10.0, "third": -6.0, "third_tokens": 4.0}
    assert one(name, params, {}, **values) == pytest.approx(expected, abs=1e-6)


DOWN = {"apo_down"}  # lowers the chosen answer too, once it stands far above the rejected one
DIP = {"discopop"}  # rises with the margin between 0 and about tau


@pytest.mark.parametrize("name", pair_objectives())
def test_gradients_raise_the_chosen_and_lower_the_rejected(name):
    # at the reference, where sides have 10 and 8 tokens
    chosen, rejected = (torch.tensor([value, value - 1], dtype=torch.float64, requires_grad=True) for value in (-12.0, -11.0))
    values = {"chosen_tokens": [10.0, 10.0], "rejected_tokens": [8.0, 8.0], "third": [-6.0, -7.0], "third_tokens": [4.0, 4.0]}
    if objectives.load(name).reference == "values":
        values |= {"ref_chosen": chosen.detach(), "ref_rejected": rejected.detach()}
    numbers = {key: [value] * 2 for key, value in NUMBERS.items()}
    if name in DIP:
        values["ref_chosen"] = chosen.detach() - 2
    loss_of(name, {}, numbers, chosen=chosen, rejected=rejected, **values).sum().backward()
    assert torch.isfinite(chosen.grad).all() and torch.isfinite(rejected.grad).all()
    assert (chosen.grad == 0).all() if name in DOWN else (chosen.grad < 0).all()
    assert (rejected.grad > 0).all()
    if name in DOWN:
        chosen.grad, rejected.grad = None, None
        far = {"ref_chosen": chosen.detach() - 20, "ref_rejected": rejected.detach() + 20}
        loss_of(name, {}, numbers, chosen=chosen, rejected=rejected, **values | far).sum().backward()
        assert (chosen.grad > 0).all()


def test_the_gradient_of_dpo_weighs_by_how_wrong_the_model_is():
    chosen = torch.tensor([-10.0], dtype=torch.float64, requires_grad=True)
    loss_of("dpo", {}, {}, **{**ANCHOR, "chosen": chosen}).backward()
    assert chosen.grad.item() == pytest.approx(-0.1 * 0.425557, abs=1e-6)


def test_optima_of_soft_labels():
    def least(name, params, numbers):
        z = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([z], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe")

        def step():
            optimiser.zero_grad()
            loss = loss_of(name, params, numbers, **ratios(z / 0.1, 0.0)).sum()
            loss.backward()
            return loss

        optimiser.step(step)
        return z.item()

    assert least("cream", {}, {"probability": 0.8}) == pytest.approx(VECTORS["cream"]["z_opt"], abs=1e-5)
    assert least("cream", {}, {"probability": 0.5}) == pytest.approx(0.0, abs=1e-6)
    assert least("cream", {}, {"probability": 0.3}) < 0  # the label is flipped
    assert least("dpo", {"label_smoothing": 0.1}, {}) == pytest.approx(math.log(9), abs=1e-5)


def test_upo_as_printed_and_as_it_can_be_meant():
    gains = torch.tensor(VECTORS["upo_bald"]["B"], dtype=torch.float64)
    sampling = (1 - gains) / (1 - gains).sum()
    assert sampling.tolist() == pytest.approx(VECTORS["upo_bald"]["easy"], abs=2e-6)
    method = objectives.load("upo")

    def alpha(how, **numbers):
        empty = torch.zeros(3, dtype=torch.float64)
        return method(method.Params(alpha=how)).softness(PairValues(empty, empty, empty, empty, numbers=numbers)).tolist()

    assert alpha("printed", sampling=sampling) == pytest.approx([0.727856, 0.718745, 0.809855], abs=2e-6)  # all flipped
    assert alpha("uncertainty", uncertainty=gains) == pytest.approx([0.0445074 / LOG2, 0, 0.5], abs=2e-6)
    soft, z = 0.0445074 / LOG2, 0.3
    expected = (1 - soft) * math.log1p(math.exp(-z)) + soft * math.log1p(math.exp(z))
    assert one("upo", {}, {"uncertainty": 0.0445074}, **ANCHOR) == pytest.approx(expected, abs=1e-9)
    # minus log pi over its tokens, as in Iterative RPO
    assert one("upo", {"nll": 0.5}, {"uncertainty": 0.0}, **ANCHOR, chosen_tokens=5.0) == pytest.approx(VECTORS["dpo"]["loss"] + 1.0)


def test_the_reductions_of_the_catalogue():
    batch = {"chosen": [-10.0, -8.0], "rejected": [-14.0, -7.0], "ref_chosen": [-12.0, -8.5], "ref_rejected": [-13.0, -9.0]}
    tokens = {"chosen_tokens": [5.0, 9.0], "rejected_tokens": [6.0, 7.0]}

    def losses(name, params, numbers=None):
        return loss_of(name, params, numbers, **batch, **tokens).tolist()

    dpo = losses("dpo", {})
    assert losses("cream", {}, {"probability": [1.0, 1.0]}) == pytest.approx(dpo, abs=1e-12)
    assert losses("cream", {}, {"probability": [0.9, 0.9]}) == pytest.approx(losses("dpo", {"label_smoothing": 0.1}), abs=1e-12)
    assert losses("upo", {}, {"uncertainty": [0.0, 0.0]}) == pytest.approx(dpo, abs=1e-12)
    assert losses("rpo", {"coefficient": 0.0}) == pytest.approx(dpo, abs=1e-12)
    assert losses("robust", {"label_smoothing": 0.0}) == pytest.approx(dpo, abs=1e-12)
    hard = losses("sppo", {"eta": 10, "targets": "hard"})
    soft = losses("sppo", {"eta": 10}, {"win_chosen": [1.0, 1.0], "win_rejected": [0.0, 0.0]})
    assert [2 * value for value in soft] == pytest.approx(hard, abs=1e-12)
    assert losses("sppo", {"eta": 10, "targets": "single"}, {"probability": [1.0, 1.0]}) == pytest.approx(soft, abs=1e-12)
    # tau = 0 is IPO against the round's start, un-normalised
    assert losses("inpo", {"eta": 0.1, "tau": 0.0}) == pytest.approx(losses("ipo", {"beta": 0.1, "normalise": "none"}), abs=1e-12)
    # TPO with gold = chosen is CPO
    third = {"third": batch["chosen"], "third_tokens": tokens["chosen_tokens"]}
    tpo = loss_of("tpo", {"beta": 0.1}, {}, **{k: v for k, v in batch.items() if "ref" not in k}, **tokens, **third)
    cpo = loss_of("cpo", {"beta": 0.1}, {}, **{k: v for k, v in batch.items() if "ref" not in k}, **tokens)
    assert tpo.tolist() == pytest.approx(cpo.tolist(), abs=1e-12)
    # TPO-L without its likelihood is SimPO
    free = {k: v for k, v in batch.items() if "ref" not in k}
    tpo_l = loss_of("tpo", {"beta": 2.0, "gamma": 1.0, "normalise": "tokens", "alpha": 0.0}, {}, **free, **tokens, **third)
    assert tpo_l.tolist() == pytest.approx(loss_of("simpo", {}, {}, **free, **tokens).tolist(), abs=1e-12)


def test_the_three_scalings_of_rpo_agree_for_answers_of_one_length_alone():
    def extra(scale, coefficient, tokens):
        values = {"chosen": [-10.0, -30.0], "rejected": [-14.0, -9.0], "ref_chosen": [-12.0, -30.0], "ref_rejected": [-13.0, -9.0]}
        rows = loss_of("rpo", {"beta": 0.01, "scale": scale, "coefficient": coefficient}, {}, **values, chosen_tokens=tokens)
        return (rows - loss_of("dpo", {"beta": 0.01}, {}, **values, chosen_tokens=tokens)).mean().item()

    assert extra("batch", 0.005, [100.0, 100.0]) == pytest.approx(extra("answer", 0.005, [100.0, 100.0]), abs=1e-9)
    assert extra("batch", 0.005, [100.0, 100.0]) == pytest.approx(extra("sum", 0.005, [100.0, 100.0]), abs=1e-9)
    assert extra("batch", 1.0, [5.0, 15.0]) == pytest.approx(40 / 20)  # over all tokens of the batch
    assert extra("answer", 1.0, [5.0, 15.0]) == pytest.approx((10 / 5 + 30 / 15) / 2)
    assert extra("sum", 1.0, [5.0, 15.0]) == pytest.approx(0.01 * 20)


def test_the_policy_of_inpos_theory_has_a_mean_target_at_its_margin():
    given = VECTORS["inpo_update"]
    eta, tau, p12 = given["eta"], given["tau"], given["p12"]
    win = [0.5 * given["prev"][0] + p12 * given["prev"][1], (1 - p12) * given["prev"][0] + 0.5 * given["prev"][1]]
    mixed = [ref ** (tau / eta) * prev ** (1 - tau / eta) for ref, prev in zip(given["ref"], given["prev"], strict=True)]
    powers = [math.exp(w / eta) * m for w, m in zip(win, mixed, strict=True)]
    following = [value / sum(powers) for value in powers]
    assert following == pytest.approx(given["next"], abs=2e-6)
    h = math.log(following[0] / following[1]) - math.log(mixed[0] / mixed[1])
    assert h == pytest.approx(given["h"], abs=1e-6)
    # the gradient over both labels vanishes there: p12 of pairs say 1 > 2
    first = torch.tensor([math.log(following[0])], dtype=torch.float64, requires_grad=True)
    logs = {"ref_chosen": math.log(mixed[0]), "ref_rejected": math.log(mixed[1]), "rejected": math.log(following[1])}
    swapped = {"ref_chosen": math.log(mixed[1]), "ref_rejected": math.log(mixed[0]), "chosen": math.log(following[1])}
    params = {"eta": eta, "tau": tau}
    right, wrong = loss_of("inpo", params, {}, chosen=first, **logs), loss_of("inpo", params, {}, rejected=first, **swapped)
    (p12 * right + (1 - p12) * wrong).sum().backward()
    assert first.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_the_sharpened_policy_has_no_reward_difference_left():
    base = torch.tensor(VECTORS["sharpening"]["p"], dtype=torch.float64).log()
    sharp = torch.tensor(VECTORS["sharpening"]["rl_beta1"], dtype=torch.float64).log()
    left, right = [0, 0, 1], [1, 2, 2]
    numbers = {"chosen_logps_base": base[left], "rejected_logps_base": base[right]}
    params = {"beta": 1.0, "rewards": ["chosen_logps_base", "rejected_logps_base"]}

    def losses(policy, params):
        return loss_of(
            "reward_difference",
            params,
            numbers,
            chosen=policy[left],
            rejected=policy[right],
            ref_chosen=base[left],
            ref_rejected=base[right],
        )

    assert losses(sharp, params).max() < 1e-10
    assert losses(base, params).min() > 0.1
    half = (base * 3).softmax(0).log()  # beta 1/2: the third power
    assert losses(half, params | {"beta": 0.5}).max() < 1e-10


def test_a_spin_update_is_where_dpo_has_no_gradient():
    given = VECTORS["spin_update"]
    old, data = given["pt"], given["pdata"]
    for scale, name in ((1, "lambda1"), (2, "lambda2")):
        powers = [o * (d / o) ** (1 / scale) for o, d in zip(old, data, strict=True)]
        assert [value / sum(powers) for value in powers] == pytest.approx(given[name], abs=2e-6)
    same = torch.tensor([-7.0], dtype=torch.float64, requires_grad=True)
    loss = loss_of("dpo", {}, {}, chosen=same, rejected=same, ref_chosen=-6.0, ref_rejected=-6.0)
    loss.backward()
    assert loss.item() == pytest.approx(LOG2) and same.grad.item() == 0


def test_log_odds_near_certainty_are_finite_and_exact():
    mean = torch.tensor([-0.7, -1.2, -1e-6, 0.0, -80.0, -0.6931471805599453], dtype=torch.float64, requires_grad=True)
    found = log_odds(mean)
    assert found[:2].tolist() == pytest.approx([-0.013659, -0.841618], abs=1e-6)
    assert found[2].item() == pytest.approx(-1e-6 - math.log(-math.expm1(-1e-6)), rel=1e-9)
    assert found[5].item() == pytest.approx(0.0, abs=1e-12)
    for dtype in (torch.float32, torch.float64):
        edge = torch.tensor([0.0, -1e-9, -1e-7, -90.0, -600.0], dtype=dtype, requires_grad=True)
        odds = log_odds(edge)
        odds.sum().backward()
        assert torch.isfinite(odds).all() and torch.isfinite(edge.grad).all()
    # the identity sigma(log odds p) = p
    assert found[0].sigmoid().item() == pytest.approx(math.exp(-0.7), abs=1e-9)
    losses = loss_of("asft", {}, {}, chosen=[0.0, -500.0], rejected=[0.0, -500.0])
    assert torch.isfinite(losses).all()


def test_aot_sorts_the_batch():
    batch = {"chosen": [-10.0, -8.0], "rejected": [-14.0, -7.0], "ref_chosen": [-12.0, -8.5], "ref_rejected": [-13.0, -9.0]}
    margins, references = sorted([4.0, -1.0]), sorted([1.0, 0.5])
    expected = [math.log1p(math.exp(-0.1 * (a - b))) for a, b in zip(margins, references, strict=True)]
    assert loss_of("aot", {}, {}, **batch).tolist() == pytest.approx(expected, abs=1e-9)
    chosen, rejected = sorted([2.0, 0.5]), sorted([-1.0, 2.0])
    expected = [math.log1p(math.exp(-0.1 * (a - b))) for a, b in zip(chosen, rejected, strict=True)]
    assert loss_of("aot", {"form": "unpaired"}, {}, **batch).tolist() == pytest.approx(expected, abs=1e-9)
