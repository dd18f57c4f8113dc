"""Monte Carlo dropout: masks are those of the counter-based generator, and belong to rows, not to batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import heads_tiny
from engine import models
from engine.errors import StepError
from engine.randomness import uniforms
from engine.score.heads import Shown
from engine.score.heads.classifier import Classifier
from engine.score.heads.dropout import AXIS, GAMMA, Dropping, drop
from engine.step import Model
from score.measures.read_answers import ReadContext


def test_a_mask_is_the_generators_and_keeps_the_mean():
    streams = np.array([5, 2**63 + 11], dtype=np.uint64)
    made = drop(torch.ones(2, 300, 40), torch.from_numpy(streams.view(np.int64)), 3, 0.25)
    own = uniforms_of_site(streams, 3)
    place = np.arange(300)[:, None] + (np.arange(40)[None, :] << AXIS)
    for row in range(2):
        expected = np.where(uniforms(np.full(place.shape, own[row]), place) >= 0.25, 1 / 0.75, 0.0)
        assert np.allclose(made[row].numpy(), expected, rtol=1e-6)
    assert made.mean().item() == pytest.approx(1, abs=0.02) and (made[0] != made[1]).any()


def uniforms_of_site(streams, site):
    """The 64-bit stream of a place in the model: output number `site` - 1 of the row's own stream."""
    with np.errstate(over="ignore"):
        z = streams + np.uint64(site) * np.uint64(GAMMA + (1 << 64))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def test_padding_and_neighbours_leave_a_rows_mask_alone():
    hidden, streams = torch.ones(4, 9, 8), torch.tensor([1, -2, 3, 4])
    whole = drop(hidden, streams, 1, 0.5)
    assert torch.equal(drop(hidden[1:2, :5], streams[1:2], 1, 0.5)[0], whole[1, :5])
    assert not torch.equal(drop(hidden, streams, 2, 0.5), whole)
    with pytest.raises(StepError, match="expected 3 rows first"):
        drop(hidden, streams[:3], 1, 0.5)


def test_keys_differ_by_row_pass_and_seed_only():
    one, other = Dropping(3, 7, "own", None), Dropping(3, 8, "own", None)
    keys = one.keys(["a", "b"])
    assert len(set(keys.tolist())) == 6 and keys[3:].tolist() == one.keys(["b"]).tolist()
    assert not set(keys.tolist()) & set(other.keys(["a", "b"]).tolist())


@pytest.mark.parametrize(("kind", "sites"), [("bert", "own"), ("llama", "linear"), ("llama", "head")])
def test_passes_differ_and_the_model_is_left_as_it_was(tmp_path, kind, sites):
    path = heads_tiny.save(tmp_path / "rm", kind=kind)
    classifier = Classifier(ReadContext(tmp_path, {}), Model(models.digest(path), path), Shown())
    ids = [np.array(row) for row in classifier.encode(["one plus two"] * 3)]
    plain = classifier.logits(ids)
    dropping = Dropping(3, 7, sites, 0.3)
    made = classifier.logits(ids, dropping, dropping.keys(["row"]))
    assert len(set(made[:, 0].tolist())) == 3 and np.array_equal(classifier.logits(ids), plain)
    assert np.array_equal(classifier.logits(ids, dropping, dropping.keys(["row"])), made)


def test_a_model_without_dropout_is_an_error(tmp_path):
    """Passes that cannot differ would say that the model is certain of everything."""
    path = heads_tiny.save(tmp_path / "rm")
    classifier = Classifier(ReadContext(tmp_path, {}), Model(models.digest(path), path), Shown())
    with pytest.raises(StepError, match="no dropout layer that drops anything"):
        classifier.logits([np.array([3, 4])], Dropping(1, 7, "own", None), [1])
