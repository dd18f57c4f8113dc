"""Measure `anchor`: the mean of the models' mean log-probabilities, each by its own template."""

from __future__ import annotations

import pytest

from engine.errors import SpecError
from engine.score.measures.anchor import anchor
from generate_tiny import save, spec
from score.measures.read_answers import TEXTS, ReadContext, measure, rollouts, values

TEMPLATE = "Q {{ messages[0].content }}:{% if add_generation_prompt %} {% else %} {{ messages[1].content }}{% endif %}"


def test_the_mean_of_three_models_and_a_missing_one():
    assert anchor((-0.9, -1.0, -1.4)) == -1.1
    assert anchor((-0.9, None)) is None


def test_every_model_reads_by_its_own_template(tmp_path):
    """Also where generation shows the policy no template."""
    save(tmp_path / "plain")
    save(tmp_path / "chat", seed=1, template=TEMPLATE)
    texts = rollouts(TEXTS)
    own = []
    for name, chat in (("plain", None), ("chat", True)):
        (tmp_path / f"lp_{name}").mkdir()
        ctx = ReadContext(tmp_path / f"lp_{name}", {"policy": tmp_path / name}, spec=spec(generate={"chat": chat}))
        own.append(values(measure("logprob").measure(ctx, texts), "_mean"))
    ctx = ReadContext(tmp_path, {}, spec=spec(generate={"chat": False}))
    made = measure("anchor", models=["plain", "chat"]).measure(ctx, texts)
    assert values(made) == [pytest.approx((a + b) / 2, abs=1e-11) for a, b in zip(*own, strict=True)]


def test_a_row_that_one_model_cannot_read_has_no_anchor(tmp_path):
    save(tmp_path / "a")
    save(tmp_path / "b", max_position_embeddings=20)
    made = measure("anchor", models=["a", "b"]).measure(ReadContext(tmp_path, {}), rollouts(TEXTS))
    assert [value is None for value in values(made)] == [False, False, False, True, False, False]
    assert made[""]["detail"].to_pylist()[3] == "b: truncated: 55 tokens, 20 allowed"
    with pytest.raises(SpecError, match="stands twice"):
        measure("anchor", models=["a", "a"])
