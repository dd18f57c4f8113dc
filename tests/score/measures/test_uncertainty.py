"""Measure `uncertainty`: disagreement of several reward models, and of one with dropout."""

from __future__ import annotations

import numpy as np
import pytest

import heads_tiny
from engine.errors import SpecError
from engine.score.heads import bald, classifier
from heads_tiny import plain
from score.measures.read_answers import TEXTS, ReadContext, measure, rollouts, values


def run(folder, name="run", texts=TEXTS, **params):
    (folder / name).mkdir()
    return measure("uncertainty", **params).measure(ReadContext(folder / name, {}), rollouts(texts))


@pytest.mark.parametrize("statistic", ["std", "variance", "bald"])
def test_an_ensemble_disagrees_as_its_rewards_do(tmp_path, statistic):
    paths = [heads_tiny.save(tmp_path / f"rm{seed}", seed=seed) for seed in range(3)]
    made = run(tmp_path, models=[f"../{path.name}" for path in paths], statistic=statistic)
    rewards = np.array([[plain(path, ask + answer)[0] for path in paths] for ask, answer in TEXTS])
    chances = 1 / (1 + np.exp(-rewards))
    expected = {"std": rewards.std(axis=1), "variance": rewards.var(axis=1), "bald": [bald.bald(own) for own in chances.tolist()]}
    assert values(made) == pytest.approx(list(expected[statistic]), abs=0.005)
    assert values(made, "_mean") == pytest.approx(rewards.mean(axis=1).tolist(), abs=0.0006)


def test_a_row_that_one_model_cannot_read_has_no_number(tmp_path):
    heads_tiny.save(tmp_path / "a")
    heads_tiny.save(tmp_path / "b", max_position_embeddings=40)
    made = run(tmp_path, models=["../a", "../b"])
    assert [value is None for value in values(made)] == [False, False, False, True, False, False]
    assert made[""]["detail"].to_pylist()[3] == "../b: truncated: 54 tokens, 40 allowed"


@pytest.mark.parametrize(("kind", "given"), [("bert", {}), ("llama", {"sites": "linear", "dropout": 0.2})])
def test_passes_with_dropout_do_not_depend_on_the_batch(tmp_path, monkeypatch, kind, given):
    heads_tiny.save(tmp_path / "rm", kind=kind)
    texts = [(f"what {i}?", f"{i * 37 % 101} and " * (i % 5) + str(i)) for i in range(30)]
    asked = {"models": ["../rm"], "passes": 5, **given}
    whole = run(tmp_path, texts=texts, **asked)
    assert min(values(whole)) > 0 and len(set(values(whole))) == 30
    monkeypatch.setattr(classifier, "CPU_TOKENS", 1)
    alone = run(tmp_path, "alone", texts[11:19], **asked)
    assert values(alone) == values(whole)[11:19] and values(alone, "_mean") == values(whole, "_mean")[11:19]


def test_the_seed_is_the_specs_and_counts_only_where_something_is_drawn(tmp_path):
    heads_tiny.save(tmp_path / "a")
    heads_tiny.save(tmp_path / "b", seed=1)
    now = ReadContext(tmp_path, {})
    drawn = measure("uncertainty", models=["a"], passes=2, sites="head", dropout=0.1)
    other = now.spec.model_copy(update={"seed": 99})
    assert drawn.settings(now.spec, 0, now.spec_path) == drawn.settings(now.spec, 3, now.spec_path)
    assert drawn.settings(now.spec, 0, now.spec_path) != drawn.settings(other, 0, now.spec_path)
    both = measure("uncertainty", models=["a", "b"])
    assert both.settings(now.spec, 0, now.spec_path) == both.settings(other, 0, now.spec_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"models": ["a"]}, "one model agrees with itself"),
        ({"models": ["a", "a"]}, "stands twice"),
        ({"models": ["a"], "passes": 1}, "one pass cannot disagree"),
        ({"models": ["a"], "passes": 4, "sites": "head"}, "sites: head needs a `dropout` rate"),
        ({"models": []}, "models"),
    ],
)
def test_settings_that_cannot_be(given, message):
    with pytest.raises(SpecError, match=message):
        measure("uncertainty", **given)
