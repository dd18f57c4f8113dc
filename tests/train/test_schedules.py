import math
from itertools import pairwise

import pytest

from engine.train.past import Past
from engine.train.schedules import SCHEDULES, learning_rate_ratio, refined
from train_small import settings


def rates(total, past=None, tokens=0.0, last=0, **how):
    one = settings(**how)
    return [learning_rate_ratio(step, total, one, past, tokens) for step in range(total + last)]


def test_rex_at_its_five_points():
    found = rates(4, last=1, schedule="rex")
    assert [round(rate, 3) for rate in found] == [1.0, 0.857, 0.667, 0.4, 0.0]
    assert rates(4, last=1, schedule="rex", shape={"d": 0}) == pytest.approx([1, 0.75, 0.5, 0.25, 0])  # linear
    floored = rates(4, last=1, schedule="rex", min_lr_ratio=0.1)
    assert floored == pytest.approx([0.1 + 0.9 * rate for rate in found])


def test_wsd_halves_every_fifty_steps_from_900():
    found = rates(1000, last=1, schedule="wsd", shape={"half_life": 50}, warmup_steps=9)
    assert found[:10] == pytest.approx([i / 10 for i in range(1, 11)])
    assert set(found[9:901]) == {1.0}
    assert (found[900], found[950], found[1000]) == (1.0, 0.5, 0.25)
    assert rates(1000, last=1, schedule="wsd", shape={"half_life": 50}, min_lr_ratio=0.4)[1000] == 0.4
    linear = rates(10, last=1, schedule="wsd", shape={"decay_share": 0.4})
    assert linear == pytest.approx([1] * 7 + [0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "wsd"])
def test_a_share_of_the_steps_warms_up_like_as_many_steps(schedule):
    assert rates(40, schedule=schedule, warmup_share=0.1) == rates(40, schedule=schedule, warmup_steps=4)
    assert rates(3, schedule=schedule, warmup_share=0.1) == rates(3, schedule=schedule, warmup_steps=1)
    whole = Past(rounds=4, decays=False)  # one schedule over four rounds of ten steps
    assert rates(10, whole, schedule=schedule, warmup_share=0.1) == rates(10, whole, schedule=schedule, warmup_steps=4)
    with pytest.raises(ValueError, match="give it or warmup_steps"):
        settings(warmup_steps=3, warmup_share=0.1)


def test_the_anneal_of_the_infinite_schedule_is_exponential():
    how = {"schedule": "infinite", "learning_rate": 3e-4, "min_lr_ratio": 1e-5 / 3e-4}
    shape = {"constant": 1.65e-4 / 3e-4, "cooldown_steps": 100, "decay_share": 0.2}
    found = [3e-4 * rate for rate in rates(1000, last=1, shape=shape, **how)]
    assert found[0] == pytest.approx(3e-4)
    assert found[50] == pytest.approx((3e-4 + 1.65e-4) / 2)  # half a cosine
    assert found[100:801] == pytest.approx([1.65e-4] * 701)
    assert found[900] == pytest.approx(4.062e-5, rel=1e-3)
    assert found[1000] == pytest.approx(1e-5)
    root = rates(1000, shape=shape | {"cooldown": "inverse_sqrt"}, **how)
    assert root[0] == 1 and root[100] == pytest.approx(0.55)
    assert all(a > b for a, b in pairwise(root[:101])) and root[50] < found[50] / 3e-4  # falls early


def test_power_follows_the_tokens():
    how = {"schedule": "power", "batch_size": 128, "learning_rate": 0.02, "shape": {"decay_share": 0}}

    def rate(n):
        return 0.02 * learning_rate_ratio(9, 10, settings(**how), tokens=n / 10)

    assert rate(1e9) == pytest.approx(0.01316, rel=1e-3)
    assert rate(1e10) == pytest.approx(0.004067, rel=1e-3)
    assert rate(1e10) / rate(1e9) == pytest.approx(10**-0.51)
    assert rate(1e6) == 0.02  # never above the peak
    before = Past(tokens=9 * 10**9)  # tokens of earlier rounds count
    assert 0.02 * learning_rate_ratio(9, 10, settings(**how), before, 1e8) == pytest.approx(rate(1e10))
    falling = rates(10, last=1, tokens=1e8, **(how | {"shape": {"decay_share": 0.5}}))
    flat = rates(10, last=1, tokens=1e8, **how)
    assert falling[:6] == flat[:6] and falling[10] == 0 and falling[8] == pytest.approx(flat[8] * 0.4)


def test_refined_gives_linear_decay_for_equal_norms_and_a_warm_up_for_large_first_ones():
    assert refined((1, 1, 1, 1), 4) == pytest.approx((1, 2 / 3, 1 / 3, 0))
    assert refined((2, 1, 1, 1), 4) == pytest.approx((0.375, 1, 0.5, 0))
    assert refined((1, 1, 9, 1, 1), 5, window=3) == pytest.approx(refined((1, 1, 1, 1, 1), 5))  # one outlier of five
    assert refined((1.0, 1.0), 4) == pytest.approx((1, 2 / 3, 1 / 3, 0))  # norms logged every other step
    assert refined((0.0, 1, 1, 1), 4)[0] <= 1 and all(map(math.isfinite, refined((0.0, 1, 1, 1), 4)))
    assert rates(4, Past(norms=(2, 1, 1, 1)), schedule="refined", shape={"window": 1}) == pytest.approx([0.375, 1, 0.5, 0])
    assert rates(4, schedule="refined") == rates(4, schedule="linear")  # a first training has no norms


@pytest.mark.parametrize("schedule", ["linear", "cosine", "wsd", "infinite", "rex"])
def test_over_the_experiment_three_rounds_are_one_schedule(schedule):
    how = {"schedule": schedule, "warmup_steps": 5, "min_lr_ratio": 0.1, "shape": {"cooldown_steps": 4, "decay_share": 0.3}}
    whole = rates(30, **how)
    rounds = [rates(10, Past(steps=10 * r, rounds=3 - r, decays=False), **how) for r in range(3)]
    assert [rate for one in rounds for rate in one] == pytest.approx(whole)
    again = [rates(10, **how) for _ in range(2)]
    assert again[0] == again[1] and again[0][0] < again[0][5]  # a schedule a round warms up in each


def test_from_a_trunk_the_warm_up_is_once_and_every_round_decays():
    how = {"schedule": "wsd", "warmup_steps": 4, "shape": {"decay_share": 0.3}}
    first, second = rates(10, **how), rates(10, Past(steps=7), **how)
    assert first == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 2 / 3, 1 / 3])
    assert second == pytest.approx([1] * 8 + [2 / 3, 1 / 3])


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("total", [1, 2, 7])
@pytest.mark.parametrize("warmup", [0, 3])
def test_every_schedule_stays_between_nothing_and_the_peak(schedule, total, warmup):
    found = rates(total, Past(norms=(0.5, 3, 1)), tokens=50, last=1, schedule=schedule, warmup_steps=warmup, min_lr_ratio=0.05)
    assert all(0 <= rate <= 1 for rate in found)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"schedule_over": "trunk"}, "trunk is for schedules with a decay"),
        ({"half": {}, "lora": {}}, "half: an adapter is new in every round"),
        ({"half": {}, "optimizer_state": "carried"}, "cannot be carried"),
        ({"replay": {"share": 0.2}, "data": "cumulative"}, "set data: round"),
        ({"replay": {"share": 0.2, "schedule": "linear"}}, "share of the last round"),
        ({"replay": {"share": 0.2, "source": "all"}}, "'cumulative' or 'last-N'"),
        ({"schedule": "wsd", "schedule_over": "trunk", "hold_out": {}}, "stops early"),
        ({"schedule": "infinite"}, "min_lr_ratio"),
    ],
)
def test_settings_that_cannot_work_together(more, text):
    with pytest.raises(ValueError, match=text):
        settings(**more)
