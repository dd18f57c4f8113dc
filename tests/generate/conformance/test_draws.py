"""Backends that draw: an answer follows from seed, round, actor, prompt, number and sampler, and from nothing else."""

import pyarrow as pa
import pytest

from engine.generate.asks import with_samples
from generate.conformance.asking import once, plain, texts
from generate.conformance.rigs import SAMPLES, N, Rig, Row


@pytest.fixture(scope="module")
def drawn(sampler: Rig) -> list[Row]:
    """Answers at temperature 1."""
    return once(sampler)


def test_the_same_seed_gives_the_same_rows(sampler: Rig, drawn: list[Row]) -> None:
    assert plain(once(sampler)) == plain(drawn)
    assert len(set(texts(drawn))) > 0.8 * N * SAMPLES, "the answers of a prompt are different draws"


@pytest.mark.parametrize("change", [{"seed": 6}, {"round_": 1}, {"actor": "rival"}])
def test_another_seed_round_or_actor_gives_others(sampler: Rig, drawn: list[Row], change: dict) -> None:
    other = once(sampler, **change)
    same = sum(a == b for a, b in zip(texts(other), texts(drawn), strict=True))
    assert same < 0.2 * len(drawn)
    assert {row["generation_id"] for row in other}.isdisjoint(row["generation_id"] for row in drawn)


def test_temperature_0_gives_one_answer_a_prompt_whatever_the_seed(sampler: Rig) -> None:
    first, other = once(sampler, temperature=0), once(sampler, temperature=0, seed=6, round_=2)
    assert texts(first) == texts(other)
    assert all(row["seed"] is None and row["temperature"] == 0 for row in first)
    assert len({(row["prompt_id"], row["response"]) for row in first}) == N
    assert len({row["generation_id"] for row in first}) == N * SAMPLES


def test_rows_may_have_settings_of_their_own(sampler: Rig, drawn: list[Row]) -> None:
    """Three rows a prompt: as the job says, greedy, and short; each answer is the one that a job of those settings gives."""
    asks = sampler.asks()
    hot, long = pa.array([None, 0.0, 1.0]), pa.array([None, None, 4])
    pieces = [
        with_samples(asks, [[number]] * N)
        .append_column("temperature", hot.take(pa.array([number] * N)))
        .append_column("max_tokens", long.take(pa.array([number] * N)))
        for number in range(SAMPLES)
    ]
    found = once(sampler, pa.concat_tables(pieces))
    greedy, short = once(sampler, temperature=0), once(sampler, max_tokens=4)
    expected = [(drawn, greedy, short)[i % SAMPLES][i] for i in range(len(found))]
    assert plain(found) == plain(expected)
    for row in found:
        if sampler.counts:
            assert row["response_tokens"] <= (4 if row["sample"] == 2 else 12)


@pytest.mark.parametrize("how", [{"temperature": 0.5}, {"top_p": 0.5}, {"top_k": 3}])
def test_the_sampler_matters(sampler: Rig, drawn: list[Row], how: dict) -> None:
    found = once(sampler, **how)
    assert texts(found) != texts(drawn)
    assert {row["generation_id"] for row in found}.isdisjoint(row["generation_id"] for row in drawn)
    assert plain(once(sampler, batch=1, **how)) == plain(found)


def test_stop_strings_end_an_answer_and_are_cut_off(sampler: Rig, drawn: list[Row]) -> None:
    stops = ("a", "e ", "12", "B")
    cut = once(sampler, stop=stops)
    assert not any(stop in row["response"] for row in cut for stop in stops)
    for row, before in zip(cut, drawn, strict=True):
        ends = [before["response"].find(stop) for stop in stops if stop in before["response"]]
        assert row["response"] == before["response"][: min(ends, default=None)]
        assert row["finish_reason"] == ("stop" if ends else before["finish_reason"])
    assert sum(row["response"] != before["response"] for row, before in zip(cut, drawn, strict=True)) > 5
