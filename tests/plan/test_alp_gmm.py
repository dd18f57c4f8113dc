"""ALP-GMM: progress beside a slow reference, the mass of the mixture beside draws from it, and weights over rounds."""

import json

import numpy as np
import pytest

from engine.errors import SpecError, StepError
from engine.plan.alp_gmm import AlpGmm, Settings, fitted, masses, progress
from engine.plan.steps import PlanStep
from engine.spec import Plan
from small_lake import SmallLake, spec


def slow_progress(rounds, buffer):
    points = []
    for i, tasks in enumerate(rounds):
        before = [task for earlier in rounds[:i] for task in earlier][-buffer:]
        for x, r in tasks:
            if before:
                distance = min(abs(x - other) for other, _ in before)
                nearest = [r2 for other, r2 in before if abs(x - other) == distance][-1]
                points.append((x, abs(r - nearest)))
    return points


def test_progress_is_measured_against_the_nearest_earlier_prompt():
    assert np.allclose(progress([[(0.0, 0.5), (1.0, 0.2)], [(0.1, 0.9), (0.9, 0.2)]], 500), [(0.1, 0.4), (0.9, 0.0)])
    assert np.allclose(progress([[(0.5, 0.1)], [(0.5, 0.6)], [(0.5, 0.7)]], 500), [(0.5, 0.5), (0.5, 0.1)])  # the newest of equals
    rng = np.random.default_rng(0)
    rounds = [[(float(x), float(r)) for x, r in zip(rng.integers(0, 9, 12) / 8, rng.random(12), strict=True)] for _ in range(4)]
    for buffer in (5, 500):
        assert np.allclose(progress(rounds, buffer), slow_progress(rounds, buffer))


def test_mass_is_that_of_clipped_draws_from_the_mixture():
    components = [(0.2, 0.1, 0.3), (0.9, 0.2, 0.1)]
    values = np.array([0.0, 0.15, 0.4, 0.8, 1.0])
    found = masses(values, components)
    rng = np.random.default_rng(1)
    which = rng.random(200_000) < 0.75
    drawn = np.clip(np.where(which, rng.normal(0.2, 0.1, 200_000), rng.normal(0.9, 0.2, 200_000)), 0, 1)
    nearest = np.abs(drawn[:, None] - values).argmin(axis=1)
    assert found == pytest.approx(np.bincount(nearest, minlength=5) / 200_000, abs=0.005)
    assert found.sum() == pytest.approx(1)
    assert not masses(values, [(0.5, 0.1, 0.0)]).any()


def test_the_mixture_with_the_best_aic_stays():
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(2)
    low = np.column_stack([rng.normal(0.2, 0.03, 120), rng.normal(0.05, 0.01, 120)])
    high = np.column_stack([rng.normal(0.8, 0.03, 120), rng.normal(0.6, 0.02, 120)])
    points = np.concatenate([low, high])
    found = fitted(points, (2, 10), 7)
    aic = {k: GaussianMixture(k, random_state=7).fit(points).aic(points) for k in range(2, 11)}
    assert len(found) == min(aic, key=aic.get)
    assert found == fitted(points, (2, 10), 7)
    upper = sum(alp for mean, _, alp in found if mean > 0.5)
    assert upper / sum(alp for _, _, alp in found) > 0.8
    assert len(fitted(points[[0, 0]], (2, 10), 7)) == 1


def home(tmp_path, lengths=(4, 400), n=20, **fields):
    """A lake and a pool of `n` prompts of each length, topic by length."""
    tmp_path.mkdir(exist_ok=True)
    rows = [
        {"question": f"{length:03}-{i:02}".ljust(length, "x"), "group": f"L{length}", "hard": length}
        for length in lengths
        for i in range(n)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "g.jsonl").write_text(json.dumps({"question": "held out", "group": "L4", "hard": 1}) + "\n")
    given = {"train": "t.jsonl", "gate": "g.jsonl", "fields": {"template": "{question}", "topic": "group", **fields}}
    return SmallLake(tmp_path), given


def plan(small, given, round_, seed=7, **params):
    from engine.prompts.pool import pool

    one = spec(prompts=given, plan=[{"name": "alp", "method": "alp_gmm", "params": params}], seed=seed)
    step = PlanStep(Plan(name="alp", method="alp_gmm", params=params), small.folder / "spec.yaml")
    step.check(one, small.folder / "spec.yaml")
    rows = step.run(small.context(one, round_)).rows["plan", "alp"].to_pylist()
    return {row["item_id"]: json.loads(row["value"]) for row in rows if row["key"] == "weight"}, rows, pool(small.context(one, round_))


def answer(small, pool, round_, rate):
    """Every prompt of the pool answered in a round; its share of right answers by `rate` of its topic."""
    small.put("prompts", "train", [row | {"split": "train"} for row in pool], round_)
    small.answers([(row["prompt_id"], str(i), float(i < 4 * rate[row["topic"]])) for row in pool for i in range(4)], round_=round_)


def test_groups_that_are_being_learned_get_more(tmp_path):
    small, given = home(tmp_path)
    none, _, pool = plan(small, given, 0, by="topic")
    assert none == {}  # prompts.mix then takes all groups alike
    answer(small, pool, 0, {"L4": 0.0, "L400": 0.5})
    assert plan(small, given, 1, by="topic")[0] == {}
    answer(small, pool, 1, {"L4": 0.75, "L400": 0.5})
    weights, rows, _ = plan(small, given, 2, by="topic")
    assert weights["L4"] == pytest.approx(0.9, abs=0.01) and sum(weights.values()) == pytest.approx(1)  # 0.2 / 2 + 0.8
    assert {row["key"] for row in rows} == {"weight", "component"}
    assert weights == plan(small, given, 2, by="topic")[0]
    answer(small, pool, 1, {"L4": 0.0, "L400": 0.5})
    assert plan(small, given, 2, by="topic")[0] == pytest.approx({"L4": 0.5, "L400": 0.5})  # nothing has changed


def test_bad_settings_and_features(tmp_path):
    small, given = home(tmp_path)
    with pytest.raises(StepError, match="has no difficulty"):
        plan(small, given, 0, by="topic", feature="difficulty")
    assert plan(small, given | {"fields": given["fields"] | {"difficulty": "hard"}}, 0, by="topic", feature="difficulty")[0] == {}
    with pytest.raises(SpecError, match="uniform"):
        plan(small, given, 0, by="topic", uniform=2)
    with pytest.raises(SpecError, match="cluster needs one entry"):
        AlpGmm(Settings()).reads(spec(prompts=given), 0)
    small, given = home(tmp_path / "flat", lengths=(9,))
    with pytest.raises(StepError, match="every prompt has the length 9"):
        plan(small, given, 0, by="topic")
