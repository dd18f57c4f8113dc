import random

import pyarrow as pa
import pytest

from engine import models, tables
from engine.errors import DataError, ModelError
from engine.generate import Job, backends
from engine.ids import digest
from engine.step import Model
from generate_tiny import CPU, LETTERS, prompts, save, spec

KINDS = ("llama", "gpt2", "mistral")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: save(tmp_path_factory.mktemp("models") / kind, kind) for kind in KINDS}


def _texts(n: int, seed: int = 1) -> list[str]:
    rng = random.Random(seed)
    return [f"{i}:" + "".join(rng.choices(LETTERS[:-1], k=rng.randint(0, 25))) for i in range(n)]


def _job(folder, samples=4, step="generations", seed=5, round_=0, **sampler):
    sampler = spec(generate={"max_tokens": 16} | sampler).generate
    model = Model(models.digest(folder), folder)
    return Job(backends.load("transformers").Params(), sampler, samples, None, model, CPU, seed, round_, step, False, folder / "spec.yaml")


def _answer(job, texts, batch=10**6, order=None) -> list[dict]:
    """Rows in the order of texts; `order` shuffles the prompts before they are cut into batches."""
    backend = backends.load("transformers")(job)
    rows = prompts(texts).select(["prompt_id", "messages"])
    place = {prompt: i for i, prompt in enumerate(rows["prompt_id"].to_pylist())}
    ready = rows.take(pa.array(order)) if order else backend.prepare(rows)
    assert sorted(ready["prompt_id"].to_pylist()) == sorted(place)
    pieces = [ready.slice(start, batch).combine_chunks().to_batches()[0] for start in range(0, len(texts), batch)]
    found = [row for piece in pieces for rows in backend.generate(piece) for row in rows.to_pylist()]
    for row in found:
        row.pop("seconds")
    return sorted(found, key=lambda row: (place[row["prompt_id"]], row["sample"]))


@pytest.mark.parametrize("how", [{}, {"temperature": 0.7, "top_p": 0.9, "top_k": 20}])
def test_batch_size_and_order_do_not_change_a_row(folders, how):
    texts = _texts(320)
    job = _job(folders["llama"], **how)
    whole = _answer(job, texts)
    assert len(whole) == 320 * 4
    assert len({row["response"] for row in whole}) > 1000
    assert {row["finish_reason"] for row in whole} == {"stop", "length"}
    for batch in (7, 64):
        assert _answer(job, texts, batch) == whole
    shuffled = random.Random(3).sample(range(320), 320)
    assert _answer(job, texts, 50, shuffled) == whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_equals_the_row_in_a_batch(folders, kind):
    texts, job = _texts(12), _job(folders[kind], samples=3)
    assert [row for text in texts for row in _answer(job, [text])] == _answer(job, texts)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_are_those_of_transformers(folders, kind):
    import torch

    texts = _texts(8)
    rows = _answer(_job(folders[kind], samples=1, temperature=0), texts)
    model, words = models.load(folders[kind], CPU)
    for text, row in zip(texts, rows, strict=True):
        ids = torch.tensor([words(text)["input_ids"]])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16, pad_token_id=0)
        out = out[0, ids.shape[1] :]
        assert row["response"] == words.decode(out, skip_special_tokens=True)
        assert (row["response_tokens"], row["prompt_tokens"]) == (len(out), ids.shape[1])
        assert row["finish_reason"] == ("stop" if out[-1] == 0 else "length")
        assert row["seed"] is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [{}, {"temperature": 0.6, "top_k": 10}])
def test_log_probability_is_the_plain_models_sum(folders, kind, how):
    import torch

    texts = _texts(10)
    rows = _answer(_job(folders[kind], samples=2, **how), texts)
    model, words = models.load(folders[kind], CPU)
    assert {row["finish_reason"] for row in rows} <= {"stop", "length"}
    for row in rows:
        text = next(t for t in texts if prompts([t])["prompt_id"][0].as_py() == row["prompt_id"])
        prompt, answer = words(text)["input_ids"], words(row["response"])["input_ids"] if row["response"] else []
        answer += [0] * (row["finish_reason"] == "stop")
        if len(answer) != row["response_tokens"]:
            continue  # an <unk> was drawn, which has no text
        with torch.inference_mode():
            logps = model(torch.tensor([prompt + answer])).logits[0].double().log_softmax(1)
        total = sum(logps[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer))
        assert row["logprob"] == pytest.approx(total, abs=0.006)


def test_draws_depend_on_seed_round_step_and_sample(folders):
    texts = _texts(6)
    base = [row["response"] for row in _answer(_job(folders["llama"]), texts)]
    assert len(set(base)) > 20
    for other in ({"seed": 6}, {"round_": 1}, {"step": "eval_generations"}):
        rows = _answer(_job(folders["llama"], **other), texts)
        assert [row["response"] for row in rows] != base
    fewer = _answer(_job(folders["llama"], samples=2), texts)
    assert [row["response"] for row in fewer] == [text for i, text in enumerate(base) if i % 4 < 2]


def test_ids_are_those_that_the_design_names(folders):
    job = _job(folders["llama"], samples=2)
    first = _answer(job, ["ab"])
    again = _answer(_job(folders["llama"], samples=2, round_=1), ["ab"])
    sampler = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_tokens": 16, "stop": [], "chat": None}
    for row in first + again:
        assert row["generation_id"] == digest(row["model"], row["prompt_id"], "policy", sampler, row["seed"], row["sample"], 0, None)
    assert len({row["generation_id"] for row in first + again}) == 4
    assert first[0]["model"] == job.model.digest
    tables.check("generations", pa.Table.from_pylist(first))


def test_stop_strings_end_an_answer_and_are_cut_off(folders):
    texts = _texts(30)
    plain = _answer(_job(folders["llama"], max_tokens=20), texts)
    stops = ("a", "e ", "12")
    cut = _answer(_job(folders["llama"], max_tokens=20, stop=stops), texts)
    stopped = 0
    for before, after in zip(plain, cut, strict=True):
        ends = [before["response"].find(stop) for stop in stops if stop in before["response"]]
        expected = before["response"][: min(ends)] if ends else before["response"]
        assert after["response"] == expected
        if ends:
            stopped += 1
            assert after["finish_reason"] == "stop"
            assert after["response_tokens"] < before["response_tokens"] or before["response"].endswith(stops)
        else:
            assert {k: after[k] for k in ("finish_reason", "logprob")} == {k: before[k] for k in ("finish_reason", "logprob")}
    assert 10 < stopped < 120
    assert _answer(_job(folders["llama"], max_tokens=20, stop=stops), texts, batch=4) == cut


def test_answers_fit_the_models_context(folders):
    long = "a" * 120
    row = _answer(_job(folders["gpt2"], samples=1, temperature=0), [long, "b"])[0]
    assert row["prompt_tokens"] + row["response_tokens"] <= 128
    with pytest.raises(DataError, match="130 tokens and the model takes 128"):
        _answer(_job(folders["gpt2"]), ["b", "a" * 130])
    with pytest.raises(DataError, match="without a single token"):
        _answer(_job(folders["llama"]), ["b", ""])


def test_a_missing_model_is_an_error(folders, tmp_path):
    job = _job(folders["llama"])
    with pytest.raises(ModelError, match="no model folder"):
        backends.load("transformers")(Job(**job.__dict__ | {"model": Model("x", tmp_path / "gone")})).prepare(prompts(["a"]))


def test_noise_of_a_batch_does_not_reach_the_rows(folders, monkeypatch):
    """Logits of batches are disturbed, far more than rounding does; draws made again from the row alone keep every answer."""
    import torch

    from engine.generate import decode

    texts, job = _texts(60), _job(folders["llama"])
    forward, draw, noise = decode.Decoder._forward, decode.draw, 2e-3
    disturbed = torch.Generator().manual_seed(0)

    def noisy(self, ids, mask, positions, cache, every=False):
        logits = forward(self, ids, mask, positions, cache, every)
        if cache is None:
            return logits
        signs = torch.randint(0, 2, logits.shape, generator=disturbed) * 2 - 1
        return logits + 0.9 * noise * logits.abs().amax(dim=1, keepdim=True) * signs

    plain = [row["response"] for row in _answer(job, texts)]
    monkeypatch.setattr(decode.Decoder, "_forward", noisy)
    assert [row["response"] for row in _answer(job, texts)] != plain, "the disturbance must be large enough to matter"
    monkeypatch.setattr(decode, "draw", lambda logits, u, how, noise=noise: draw(logits, u, how, noise))
    assert [row["response"] for row in _answer(job, texts)] == plain
