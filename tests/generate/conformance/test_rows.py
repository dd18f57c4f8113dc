"""Every backend: each asked answer comes once, and its row says what the table promises."""

import random

import pyarrow as pa
import pytest

from engine import tables
from engine.generate.asks import asked, with_samples
from engine.ids import content_id
from engine.spec import Sampler
from generate.conformance.asking import answered, once, plain
from generate.conformance.rigs import TEXTS, Rig, Row


@pytest.fixture(scope="module")
def whole(rig: Rig) -> list[Row]:
    """The answers to all prompts."""
    return once(rig)


def test_every_answer_comes_once(rig: Rig, whole: list[Row]) -> None:
    with rig.opened() as backend:
        wanted = asked(backend.job, rig.asks()).pairs
    assert [(row["prompt_id"], row["sample"]) for row in whole] == sorted(wanted)
    assert len(whole) == len(TEXTS) * rig.most


@pytest.mark.parametrize("batch", [1, 4, 1000])
def test_the_size_of_a_batch_changes_nothing(rig: Rig, whole: list[Row], batch: int) -> None:
    assert plain(once(rig, batch=batch)) == plain(whole)


def test_the_order_of_the_asks_changes_nothing(rig: Rig, whole: list[Row]) -> None:
    asks = rig.asks()
    with rig.opened() as backend:
        for seed in range(2):
            order = random.Random(seed).sample(range(asks.num_rows), asks.num_rows)
            assert plain(answered(backend, asks.take(pa.array(order)), 5)) == plain(whole)


def test_a_prompt_in_several_rows_with_other_numbers(rig: Rig, whole: list[Row]) -> None:
    """Rows of the same prompts with its numbers one by one, backwards; and numbers beyond those that all prompts are asked."""
    asks = rig.asks()
    numbers = list(range(rig.most))[::-1]
    again = pa.concat_tables([with_samples(asks, [[number]] * asks.num_rows) for number in numbers])
    with rig.opened() as backend:
        assert plain(answered(backend, again, 4)) == plain(whole)
        if rig.most > 1:
            some = with_samples(asks, [[5, 1] if i % 2 else [2] for i in range(asks.num_rows)])
            found = answered(backend, some, 4)
            assert [(row["prompt_id"], row["sample"]) for row in found] == sorted(asked(backend.job, some).pairs)
            known = {(row["prompt_id"], row["sample"]): row for row in plain(whole)}
            assert all(row == known[row["prompt_id"], row["sample"]] for row in plain(found) if row["sample"] < rig.most)


def test_rows_fit_the_table(rig: Rig, whole: list[Row]) -> None:
    with rig.opened() as backend:
        ready = backend.prepare(rig.asks()).combine_chunks().to_batches()[0]
        batches = list(backend.generate(ready))
    assert {batch.schema for batch in batches} == {tables.TABLES["generations"].columns}
    rows = tables.check("generations", pa.Table.from_batches(batches))
    tables.check_keys("generations", rows)
    assert rows.num_rows == len(whole)


def test_columns_say_what_they_promise(rig: Rig, whole: list[Row]) -> None:
    with rig.opened() as backend:
        job, asks = backend.job, asked(backend.job, rig.asks())
    ids = dict(zip(asks.pairs, asks.samplers, strict=True))
    assert len({row["generation_id"] for row in whole}) == len(whole)
    for row in whole:
        sampler = ids[row["prompt_id"], row["sample"]]
        assert row["generation_id"] == rig.expected_id(job, row, sampler)
        assert row["content_id"] == content_id(row["response"])
        assert (row["actor"], row["turn"], row["depth"], row["is_terminal"], row["parent_id"]) == ("policy", 0, 0, True, None)
        assert row["model"] and (job.model is None or row["model"] == job.model.digest)
        assert row["finish_reason"] in ("stop", "length")
        assert row["seconds"] >= 0
        assert row["tokens"] is None and row["token_logprobs"] is None, "kept only where keep_tokens says so"
        assert (row["temperature"], row["top_p"]) == ((sampler.temperature, sampler.top_p) if rig.sampled else (None, None))
        assert (row["seed"] is not None) == rig.sampled
        _numbers(rig, row, sampler)


def _numbers(rig: Rig, row: Row, sampler: Sampler) -> None:
    """Counts and log-probabilities, or null."""
    if rig.counts:
        assert row["prompt_tokens"] > 0
        assert 0 <= row["response_tokens"] <= sampler.max_tokens
        assert row["finish_reason"] == "stop" or row["response_tokens"] == sampler.max_tokens
    else:
        assert row["prompt_tokens"] is None and row["response_tokens"] is None
    assert row["logprob"] <= 0 if rig.logprobs else row["logprob"] is None


def test_keep_tokens_fills_the_columns_or_leaves_them_null(rig: Rig, whole: list[Row]) -> None:
    kept = once(rig, keep_tokens=True)
    assert plain(kept) == plain(whole), "it changes no other column"
    for row in kept:
        assert (row["tokens"] is not None, row["token_logprobs"] is not None) == (rig.tokens, rig.token_logprobs)
        if rig.tokens:
            assert len(row["tokens"]) == row["response_tokens"]
        if rig.token_logprobs:
            assert len(row["token_logprobs"]) == row["response_tokens"]
            assert sum(row["token_logprobs"]) == pytest.approx(row["logprob"], abs=0.01)


def test_another_actor_has_other_ids_and_says_so(rig: Rig, whole: list[Row]) -> None:
    other = once(rig, actor="rival")
    assert {row["actor"] for row in other} == {"rival"}
    assert {row["generation_id"] for row in other}.isdisjoint(row["generation_id"] for row in whole)
