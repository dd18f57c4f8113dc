"""Merging methods on single tensors, against numbers worked out by hand."""

import math

import pytest
import torch
from pydantic import ValidationError

from engine.errors import SpecError
from engine.merge import merger, mergers
from engine.merge.deltas import between, dropped
from engine.spec import Merge
from merge_small import method, named

ZERO = [0.0, 0.0, 0.0, 0.0]


def close(found: torch.Tensor, wanted: list[float]) -> bool:
    return torch.allclose(found.flatten(), torch.tensor(wanted, dtype=torch.float32), atol=1e-6)


def test_soup_is_the_weighted_mean():
    assert close(method("soup").tensor(named([1.0, 2.0], [3.0, 6.0])), [2.0, 4.0])
    assert close(method("soup").tensor(named([1.0, 2.0], [3.0, 6.0], weights=(3.0, 1.0))), [1.5, 3.0])
    assert close(method("soup").tensor(named([0.0], [3.0], [6.0], weights=(0.2, 0.3, 0.5))), [3.9])  # a row of a mixing matrix


def test_a_soup_of_equal_models_is_that_model():
    one = torch.randn(50, 50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(method("soup").tensor(named(one, one.clone(), one.clone(), weights=(0.1, 0.7, 0.3))), one)


def test_slerp_goes_along_the_arc():
    found = method("slerp", t=0.5).tensor(named([1.0, 0.0], [0.0, 1.0]))
    assert close(found, [math.sqrt(0.5), math.sqrt(0.5)])
    assert close(method("slerp", t=1 / 3).tensor(named([1.0, 0.0], [0.0, 1.0])), [math.cos(math.pi / 6), math.sin(math.pi / 6)])
    assert close(method("slerp", t=0.25).tensor(named([1.0, 0.0], [2.0, 0.0])), [1.25, 0.0])  # one direction: the line
    assert close(method("slerp", t=0.0).tensor(named([1.0, 0.5], [0.0, 1.0])), [1.0, 0.5])
    assert close(method("slerp", t=0.5).tensor(named([0.0, 0.0], [0.0, 2.0])), [0.0, 1.0])


def test_task_arithmetic_adds_weighted_differences():
    one = named([2.0, 1.0], [1.0, 4.0], base=[1.0, 1.0], weights=(1.0, 0.5))
    assert close(method("task_arithmetic").tensor(one), [2.0, 2.5])
    assert close(method("task_arithmetic", scale=2.0).tensor(one), [3.0, 4.0])
    assert close(method("task_arithmetic", normalize=True).tensor(one), [1 + 1 / 1.5, 2.0])
    assert close(method("task_arithmetic").tensor(named([3.0], base=[1.0], weights=(-1.0,))), [-1.0])


def test_ties():
    one = named([2.0, -1.0, 0.1, 3.0], [-1.0, -2.0, 0.2, 0.9], base=ZERO)
    assert close(method("ties", density=0.5).tensor(one), [2.0, -2.0, 0.0, 3.0])
    assert close(method("ties", density=1.0).tensor(one), [2.0, -1.5, 0.15, 1.95])
    assert close(method("ties", density=1.0, normalize=False).tensor(one), [2.0, -3.0, 0.3, 3.9])
    assert close(method("ties", density=0.5, scale=0.5).tensor(one), [1.0, -1.0, 0.0, 1.5])
    # a sign by the sum may be that of one large entry; by count it is that of most
    two = named([5.0], [-1.0], [-1.0], base=[0.0])
    assert close(method("ties", density=1.0).tensor(two), [5.0])
    assert close(method("ties", density=1.0, sign="count").tensor(two), [-1.0])
    assert close(method("ties", density=1.0).tensor(named([1.0], [-1.0], base=[0.0])), [1.0])  # a tie is +
    assert close(method("ties", density=0.5, rescale=True).tensor(named([3.0, 1.0], base=[0.0, 0.0])), [4.0, 0.0])


def test_dare_keeps_the_mean():
    delta, share, masks = torch.tensor([1.0, -2.0, 0.5]), 0.9, 10_000
    draws = torch.rand(masks, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = dropped(delta, share, draws)
    error = delta.abs() * math.sqrt(share / (1 - share) / masks)  # of d m / (1 - p)
    assert bool(((found.mean(0) - delta).abs() < 3 * error).all())
    assert sorted({round(float(v), 4) for v in found[:, 1]}) == [-20.0, 0.0]


def test_dare_draws_depend_on_seed_round_role_tensor_and_model_alone():
    ones, zeros = torch.ones(40, 50), torch.zeros(40, 50)

    def found(**more):
        return method("dare", drop=0.5).tensor(named(ones, base=zeros, **({"models": ("a",), "stream": (1, 0, "policy")} | more)))

    first = found()
    assert 0.4 < float((first > 0).float().mean()) < 0.6 and set(first.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(first, found())
    for other in ({"stream": (2, 0, "policy")}, {"stream": (1, 1, "policy")}, {"stream": (1, 0, "b")}, {"name": "v"}, {"models": ("b",)}):
        assert not torch.equal(first, found(**other))
    alone = named(ones, base=zeros, models=("b",)).draws(0)
    assert torch.equal(named(ones, ones, base=zeros, models=("a", "b")).draws(1), alone)  # not on its place among others


def test_draws_are_the_same_in_pieces(monkeypatch):
    one = named(torch.ones(7, 3))
    whole = one.draws(0)
    monkeypatch.setattr("engine.merge.DRAWS", 4)
    assert torch.equal(one.draws(0), whole)


def test_norms_and_biases_are_thinned_only_where_asked():
    vector, base = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.zeros(4)
    for name, how in (("dare", {"drop": 0.9}), ("ties", {"density": 0.25}), ("breadcrumbs", {"density": 0.25, "gamma": 0.25})):
        assert torch.equal(method(name, **how).tensor(named(vector, base=base)), vector)
        assert not torch.equal(method(name, vectors=True, **how).tensor(named(vector, base=base)), vector)


def test_breadcrumbs_keep_the_middle():
    ten = [float(v) for v in range(1, 11)]
    assert close(method("breadcrumbs", density=0.6, gamma=0.1).tensor(named(ten, base=[0.0] * 10)), [0, 0, 0, 4, 5, 6, 7, 8, 9, 0])
    signs = [-10.0, 9.0, -8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, -1.0]
    assert close(method("breadcrumbs", density=0.2, gamma=0.1).tensor(named(signs, base=[0.0] * 10)), [0, 9, -8, 0, 0, 0, 0, 0, 0, 0])
    # so few entries that nothing is left out at the top: not an empty slice
    assert close(method("breadcrumbs", density=0.5, gamma=0.01).tensor(named([1.0, 2.0, 3.0, 4.0], base=ZERO)), [0, 0, 3, 4])
    assert close(method("breadcrumbs", density=0.9, gamma=0.5).tensor(named([1.0, 2.0, 3.0, 4.0], base=ZERO)), [1, 2, 3, 0])
    assert close(method("breadcrumbs", density=1.0, gamma=0.5).tensor(named([1.0, 2.0], base=[0.0, 0.0])), [1, 2])


def test_breadcrumbs_by_row():
    rows = torch.tensor([[1.0, 2.0, 3.0, 4.0], [10.0, 40.0, 20.0, 30.0]])
    kept = torch.tensor([[0.0, 2.0, 3.0, 0.0], [0.0, 0.0, 20.0, 30.0]])
    how = {"density": 0.5, "gamma": 0.25}
    assert torch.equal(method("breadcrumbs", per="row", **how).tensor(named(rows, base=torch.zeros(2, 4))), kept)
    whole = method("breadcrumbs", per="tensor", **how).tensor(named(rows, base=torch.zeros(2, 4)))
    assert close(whole, [0, 0, 3, 4, 10, 0, 20, 0])
    assert torch.equal(between(rows, 0.5, 0.25, by_row=True), kept)


def test_lines_scales_by_depth():
    lines = method("lines", alpha=0.2, beta=0.8)
    assert [round(lines.share(i, 5), 6) for i in range(5)] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert lines.share(None, 5) == 0.2 and lines.share(0, 1) == 1.0
    assert close(lines.tensor(named([3.0], base=[1.0], block=2, blocks=5)), [2.2])
    assert close(lines.tensor(named([3.0], [5.0], base=[1.0], blocks=5)), [2.2])  # outside the blocks: 1 + 0.2 (2 + 4)


def test_transfer():
    assert close(method("transfer").tensor(named([10.0, 1.0], [3.0, 5.0], base=[1.0, 1.0])), [12.0, 5.0])
    generator = torch.Generator().manual_seed(2)
    base, tuned = torch.randn(30, 30, generator=generator), torch.randn(30, 30, generator=generator)
    assert torch.equal(method("transfer").tensor(named(base.clone(), tuned, base=base)), tuned)


def test_what_a_method_cannot_do_is_said_before_any_work():
    def entry(**more):
        return merger(Merge(**({"method": "soup", "of": ("a", "b")} | more)))

    for more, text in (
        ({"method": "slerp", "of": ("a", "b", "c")}, r"merge.of: the method slerp merges 2 models"),
        ({"method": "ties"}, "takes differences from a base"),
        ({"base": "base"}, "looks at no base"),
        ({"method": "slerp", "weights": (1.0, 2.0)}, "takes none"),
        ({"params": {"densty": 1}}, r"merge.params.densty: unknown key"),
        ({"method": "ties", "base": "base", "params": {"density": 2}}, "less than or equal to 1"),
        ({"method": "sup"}, "no merge method 'sup'"),
    ):
        with pytest.raises(SpecError, match=text):
            entry(**more)
    for more, text in (
        ({"of": ("a", "a")}, "stands twice"),
        ({"role": "a"}, "is the role that this makes"),
        ({"weights": (1.0,)}, "expected one for each"),
        ({"of": ()}, "at least 1"),
    ):
        with pytest.raises(ValidationError, match=text):
            entry(**more)
    assert "greedy_soup" in mergers.names()
