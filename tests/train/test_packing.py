"""Rows packed into sequences: which, that they do not see each other, and that training gives what it gives without."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine import models
from engine.errors import SpecError, StepError
from engine.train import objective, packing
from engine.train.encode import Example
from train_small import CPU, Device, job, row, settings, sums, untrained


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


def test_best_fit_decreasing():
    assert packing.bins([4, 8, 1, 4, 2, 1], 10) == [[1, 4], [0, 3, 2, 5]]
    assert packing.bins([3, 3, 3], 3) == [[0], [1], [2]]
    assert packing.bins([12, 2, 7], 10) == [[0], [2, 1]]  # a row that is longer by itself
    assert packing.bins([], 10) == []


def test_every_row_is_in_one_sequence_that_holds_it():
    lengths = [int(n) for n in np.random.default_rng(3).integers(1, 60, 200)]
    found = packing.bins(lengths, 64)
    assert sorted(row for one in found for row in one) == list(range(200))
    assert max(sum(lengths[i] for i in one) for one in found) <= 64
    assert len(found) <= 1.1 * sum(lengths) / 64 + 1


def test_the_tensors_of_a_packed_batch():
    rows = [Example("a", np.array([5, 6, 7]), np.array([0, 1, 1.0])), Example("b", np.array([8, 9]), np.array([0, 2.0]))]
    rows.append(Example("c", np.array([4, 3, 2]), np.array([1.0, 0, 1.0])))  # its first token follows nothing
    (part,) = packing.PackingCollator(rows, [[0, 1, 2]], 0, capacity=5)([{"batch": 0}])["parts"]
    assert part["input_ids"].tolist() == [[5, 6, 7, 8, 9], [4, 3, 2, 0, 0]]
    assert part["position_ids"].tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 0, 1]]
    assert part["labels"].tolist() == [[-100, 6, 7, -100, 9], [-100, -100, 2, -100, -100]]
    torch.testing.assert_close(part["weights"], torch.tensor([[0, 1, 1, 0, 2.0], [0, 0, 1, 0, 0]]) / 5)
    (flat,) = packing.PackingCollator(rows, [[0, 1, 2]], 0, capacity=5, flat=True)([{"batch": 0}])["parts"]
    assert flat["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0, 1, 2]]
    parts = packing.PackingCollator(rows, [[0, 1, 2]], 0, capacity=5, micro=2)([{"batch": 0}])["parts"]
    assert [part["input_ids"].shape for part in parts] == [(1, 5), (1, 3)]
    assert sum(part["weights"].sum() for part in parts) == pytest.approx(1)


def train(folder, model, rows, packed, **more):
    one = job(folder, model, rows, log_every=1, params={"packing": "bfd" if packed else "none"}, **more)
    return objective(one.settings).train(one)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("more", [{}, {"micro_batch": 3}, {"max_length": 24}])
def test_a_packed_batch_has_the_loss_and_the_gradient_of_its_rows(tmp_path, model, attention, more):
    rows = sums()
    for i, one in enumerate(rows):
        one["weight"] = 1.0 + i % 3
    how = {"batch_size": 8, "max_length": 64, "device": Device("cpu", 1, "float32", attention), **more}
    packed, plain = train(tmp_path / "a", model, rows, True, **how), train(tmp_path / "b", model, rows, False, **how)
    assert packed.row_ids == plain.row_ids and packed.tokens == plain.tokens
    for a, b in zip(packed.log, plain.log, strict=True):
        assert (a["step"], a["metric"]) == (b["step"], b["metric"])
        assert a["value"] == pytest.approx(b["value"], rel=1e-5, abs=1e-6)


def test_a_neighbour_changes_nothing(tmp_path, model):
    """The loss of a row beside another, which has next to no weight, is that of the row alone."""
    given = sums(2)
    alone = train(tmp_path / "alone", model, given[:1], False, max_steps=1)
    for i, text in enumerate((" 1", " 2+2=4!")):
        neighbour = row("zz", [("user", "Add 9 and 9."), ("assistant", text)], weight=1e-9)
        beside = train(tmp_path / str(i), model, [given[0], neighbour], True, max_steps=1)
        assert beside.loss == pytest.approx(alone.loss, rel=1e-6)


class Leaky(torch.nn.Module):
    """A model whose tokens see all that stands before them, whatever the positions say."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.config, self.device, self.dtype = inner, inner.config, inner.device, inner.dtype
        self.get_input_embeddings = inner.get_input_embeddings

    def forward(self, input_ids, position_ids, use_cache):
        return self.inner(input_ids=input_ids, use_cache=use_cache)


def test_a_model_whose_rows_would_see_each_other_is_refused(model):
    loaded, _ = models.load(model, CPU)
    packing.check(loaded, "here")
    with pytest.raises(StepError, match="rows of one sequence see each other in this model"):
        packing.check(Leaky(loaded), "here")


def test_only_sft_packs():
    with pytest.raises(SpecError, match=r"train.params.packing: unknown key \(objective poft\)"):
        objective(settings(objective="poft", params={"packing": "bfd"}))
