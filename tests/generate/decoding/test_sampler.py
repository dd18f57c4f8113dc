import numpy as np
import pytest
import torch

from engine.generate.decoding.sampler import Sampling, draw
from engine.randomness import row_keys, uniforms

N, V = 4000, 23
GOLDEN = [
    [8, 4, 18, 17, 16, 5, 14, 2, 9, 19, 18, 3],
    [8, 4, 14, 17, 16, 8, 18, 6, 9, 16, 15, 3],
    [12, 0, 3, 17, 5, 19, 7, 21, 9, 12, 0, 14],
]


def _logits(n: int = N, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 2, (n, V)).astype(np.float32))


def _uniforms(n: int = N) -> torch.Tensor:
    return torch.from_numpy(uniforms(row_keys(0, 0, "test", map(str, range(n))), 0))


def _reference(logits: np.ndarray, how: Sampling) -> np.ndarray:
    """The probabilities of one row, in plain numpy."""
    scaled = logits.astype(np.float64) / how.temperature
    shares = np.exp(scaled - scaled.max())
    order = sorted(range(V), key=lambda token: (-scaled[token], token))
    if how.top_k:
        shares[order[how.top_k :]] = 0
    shares /= shares.sum()
    if how.top_p < 1:
        total, kept = 0.0, []
        for token in order:
            if total >= how.top_p or not shares[token]:
                break
            kept.append(token)
            total += shares[token]
        shares[[token for token in range(V) if token not in kept]] = 0
    return shares / shares.sum()


@pytest.mark.parametrize(
    "how",
    [
        Sampling(),
        Sampling(temperature=0.5),
        Sampling(top_k=4),
        Sampling(top_p=0.8),
        Sampling(temperature=1.5, top_p=0.6, top_k=7),
        Sampling(top_k=1),
        Sampling(top_p=1e-9),
        Sampling(top_k=100),
    ],
)
def test_draws_invert_the_cumulative_distribution(how):
    logits, u = _logits(400), _uniforms(400)
    tokens = draw(logits, u, how).tokens.numpy()
    for row in range(400):
        cumulative = _reference(logits[row].numpy(), how).cumsum()
        assert tokens[row] == np.searchsorted(cumulative, u[row].item() * cumulative[-1], side="right")


def test_draws_have_the_right_frequencies():
    logits = _logits(1).expand(20000, V)
    tokens = draw(logits, _uniforms(20000), Sampling()).tokens.numpy()
    expected = _reference(logits[0].numpy(), Sampling())
    found = np.bincount(tokens, minlength=V) / len(tokens)
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / 20000)


@pytest.mark.parametrize("how", [Sampling(), Sampling(temperature=0.3, top_k=3), Sampling(top_p=0.5), Sampling(temperature=0)])
def test_log_probabilities_are_of_the_plain_model(how):
    logits = _logits(50)
    got = draw(logits, _uniforms(50), how)
    plain = logits.double().log_softmax(dim=1).gather(1, got.tokens.unsqueeze(1)).squeeze(1)
    assert torch.allclose(got.logprobs, plain, atol=1e-12)


def test_greedy_takes_the_lowest_id_of_equals():
    logits = torch.zeros(3, V)
    logits[0, [5, 9]] = 1.0
    logits[1, 22] = 1.0
    got = draw(logits, torch.zeros(3, dtype=torch.float64), Sampling(temperature=0))
    assert got.tokens.tolist() == [5, 22, 0]
    assert got.sure.tolist() == [False, True, False]


@pytest.mark.parametrize(
    "how",
    [
        Sampling(),
        Sampling(temperature=0.4),
        Sampling(temperature=0),
        Sampling(top_k=5),
        Sampling(top_p=0.7),
        Sampling(top_p=0.9, top_k=6),
    ],
)
def test_no_noise_changes_a_sure_draw(how):
    """Logits moved by as much as `noise` allows give other tokens only where the draw said that it is not sure."""
    noise, logits, u = 2e-3, _logits(), _uniforms()
    got = draw(logits, u, how, noise=noise)
    largest = logits.abs().amax(dim=1, keepdim=True)
    changed = torch.zeros(N, dtype=torch.bool)
    for seed in range(4):
        signs = torch.from_numpy(np.random.default_rng(seed).choice([-1.0, 1.0], (N, V)).astype(np.float32))
        changed |= draw(logits + 0.9 * noise * largest * signs, u, how).tokens != got.tokens
    assert changed.any(), "the noise must be large enough to matter"
    assert not (changed & got.sure).any()
    assert got.sure.float().mean() > 0.8


def test_extreme_uniforms_stay_inside():
    logits = torch.full((2, V), -60.0)
    logits[:, 3] = 0.0
    u = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)
    assert draw(logits, u, Sampling(top_k=1)).tokens.tolist() == [3, 3]
    assert draw(logits, u, Sampling()).tokens[0] in (0, 3)


def test_large_vocabularies_are_drawn_in_blocks(monkeypatch):
    logits, u = _logits(100), _uniforms(100)
    whole = draw(logits, u, Sampling())
    monkeypatch.setattr("engine.generate.decoding.sampler.CHUNK", V * 7)
    parts = draw(logits, u, Sampling())
    assert torch.equal(whole.tokens, parts.tokens)
    assert torch.equal(whole.logprobs, parts.logprobs)


def test_draws_of_this_revision_stay_as_they_are():
    """If this fails on purpose, raise `revision` of the backends that draw with it."""
    logits = torch.from_numpy(np.sin(np.arange(12 * V, dtype=np.float64) * 1.7).reshape(12, V).astype(np.float32) * 3)
    hows = [Sampling(), Sampling(temperature=0.5, top_p=0.9, top_k=5), Sampling(temperature=0)]
    assert [draw(logits, _uniforms(12), how).tokens.tolist() for how in hows] == GOLDEN
