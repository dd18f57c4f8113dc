"""Memory that is full: fewer answers at once, the same rows; and how many fit."""

import json

import pytest

from engine import models
from engine.errors import ModelError
from engine.generate import Job, backends, drive
from engine.step import Model
from generate_tiny import CPU, Notes, prompts, save, spec

TEXTS = [f"{i}:" + "abcdefgh"[: i % 9] for i in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "llama")


def _backend(folder, batch, batching="static", samples=3, max_tokens=12):
    how = spec(generate={"max_tokens": max_tokens}).generate
    own = backends.load("transformers").Params(batching=batching)
    model = Model(models.digest(folder), folder)
    return backends.load("transformers")(
        Job(own, how, samples, None, model, CPU, 5, 0, "generations", False, folder / "spec.yaml", batch=batch)
    )


def _asks(backend, texts=TEXTS):
    return backend.prepare(prompts(texts).select(["prompt_id", "messages"]))


def _rows(backend, texts=TEXTS):
    batch = _asks(backend, texts).combine_chunks().to_batches()[0]
    found = [row for rows in backend.generate(batch) for row in rows.to_pylist()]
    for row in found:
        row.pop("seconds")
    return sorted(found, key=lambda row: (row["prompt_id"], row["sample"]))


def _limit(monkeypatch, most, error):
    """The model takes at most `most` rows; returns how many rows each pass had."""
    from engine.generate.decoding import decode

    forward, seen = decode.Decoder._forward, []

    def limited(self, ids, *given, **more):
        seen.append(len(ids))
        if len(ids) > most:
            raise error
        return forward(self, ids, *given, **more)

    monkeypatch.setattr(decode.Decoder, "_forward", limited)
    return seen


@pytest.mark.parametrize("batching", ["static", "continuous"])
@pytest.mark.parametrize("kind", ["gpu", "cpu"])
def test_a_full_memory_halves_the_batch_and_changes_no_row(folder, monkeypatch, batching, kind):
    import torch

    plain = _rows(_backend(folder, 64))
    error = torch.OutOfMemoryError("CUDA out of memory.") if kind == "gpu" else RuntimeError("DefaultCPUAllocator: can't allocate memory")
    seen = _limit(monkeypatch, 10, error)
    backend = _backend(folder, 64, batching)
    assert _rows(backend) == plain
    assert backend.detail["batching"]["answers"] == backend.detail["answers_at_once_after_memory_was_full"] <= 10
    assert sum(rows > 10 for rows in seen) <= 3, "the smaller size stays"
    assert max(seen[-30:]) <= 10


def test_one_answer_that_does_not_fit_is_an_error(folder, monkeypatch):
    seen = _limit(monkeypatch, 0, RuntimeError("not enough memory: you tried to allocate 5 bytes"))
    with pytest.raises(ModelError, match="does not hold one answer") as error:
        _rows(_backend(folder, 8))
    assert "max_tokens" in error.value.hint
    assert len(seen) <= 5


def test_other_errors_of_the_model_are_not_taken_for_memory(folder, monkeypatch):
    _limit(monkeypatch, 0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        _rows(_backend(folder, 8))


def test_a_prompt_with_more_samples_than_fit_is_answered_in_parts(folder):
    few = TEXTS[:3]
    assert _rows(_backend(folder, 4, samples=11), few) == _rows(_backend(folder, 64, samples=11), few)


def test_auto_takes_what_fits(folder, monkeypatch):
    from engine.generate.decoding import memory

    model, _ = models.load(folder, CPU)
    # 2 tensors * 2 layers * 4 heads * 8 wide * 4 bytes * 30 tokens, with room to grow; activations; logits
    cache, activations, logits = 2 * 2 * 4 * 8 * 4 * 30, 10 * (8 * 32 + 4 * 48) * 4, model.config.vocab_size * 40
    assert memory.answer_bytes(model, 10, 20) == int(2.5 * cache) + activations + logits
    each = memory.answer_bytes(model, 10, 20)
    for free, expected in [(10**12, 512), (each * 2 * 100, 96), (each * 2 * 5, 5), (1, 1)]:
        monkeypatch.setattr(memory, "free", lambda device, free=free: free)
        assert memory.fitting(model, 10, 20) == expected
    monkeypatch.setattr(memory, "free", lambda device: 1_500_000)
    backend = _backend(folder, "auto")
    plain = _rows(backend)
    assert 1 < backend.detail["batching"]["answers"] < 120
    assert plain == _rows(_backend(folder, 64))


def test_the_spec_takes_auto_and_whole_numbers():
    assert spec(generate={"batch": "auto"}).generate.batch == spec(evaluate={"batch": "auto"}).evaluate.batch == "auto"
    assert spec(generate={"batch": 7}).generate.batch == 7
    for wrong in (0, -1, "all"):
        with pytest.raises(ValueError, match="batch"):
            spec(generate={"batch": wrong})


@pytest.mark.parametrize("batching", ["static", "continuous"])
def test_a_killed_step_repeats_at_most_one_batch(folder, tmp_path, monkeypatch, batching):
    from engine.generate import transformers
    from engine.generate.decoding import decode

    monkeypatch.setattr(transformers, "FRESH", 10**6)  # a slow machine hands answers on no sooner
    forward, join = decode.Decoder._forward, decode.Decoder._join
    began: list[tuple[str, int]] = []

    def watched(self, taken):
        began.extend(
            (tuple(self._questions[n].prompt), s)
            for n, first, count in taken
            for s in self._questions[n].keys[first : first + count].tolist()
        )
        return join(self, taken)

    monkeypatch.setattr(decode.Decoder, "_join", watched)

    def go(passes=None):
        left = [passes]

        def dying(self, *given, **more):
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            return forward(self, *given, **more)

        monkeypatch.setattr(decode.Decoder, "_forward", dying)
        backend = _backend(folder, 16, batching)
        return drive.answers(backend, _asks(backend), batch=16, journal=tmp_path, progress=Notes(), label="generations")

    for passes in (30, 45, 20):
        with pytest.raises(KeyboardInterrupt):
            go(passes)
    kept = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert 0 < len(kept) < 120
    rows = go()
    assert len(began) - 120 <= 3 * (16 + 16 // 4), "running answers, and ended ones that were not handed on yet"
    found = sorted(rows.drop_columns(["seconds"]).to_pylist(), key=lambda row: (row["prompt_id"], row["sample"]))
    assert found == _rows(_backend(folder, 64))
