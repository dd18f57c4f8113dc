import random
from dataclasses import replace

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


def _job(folder, samples=4, step="generations", seed=5, round_=0, batching="static", keep_tokens=False, **sampler):
    sampler = spec(generate={"max_tokens": 16} | sampler).generate
    model, params = Model(models.digest(folder), folder), backends.load("transformers").Params(batching=batching)
    plain = Job(params, sampler, samples, None, model, CPU, seed, round_, step, False, folder / "spec.yaml")
    return replace(plain, keep_tokens=keep_tokens)


def _answer(job, texts, batch=10**6, order=None, more=None) -> list[dict]:
    """Rows in the order of texts, `batch` answers at a time; `order` shuffles the prompts before, `more` are further columns of asks."""
    backend = backends.load("transformers")(replace(job, batch=batch))
    rows = prompts(texts).select(["prompt_id", "messages"])
    place = {prompt: i for i, prompt in enumerate(rows["prompt_id"].to_pylist())}
    ready = rows.take(pa.array(order)) if order else backend.prepare(rows)
    assert sorted(ready["prompt_id"].to_pylist()) == sorted(place)
    for name, values in (more or {}).items():
        ready = ready.append_column(name, pa.array([values[place[prompt]] for prompt in ready["prompt_id"].to_pylist()]))
    found = [row for rows in backend.generate(ready.combine_chunks().to_batches()[0]) for row in rows.to_pylist()]
    assert backend.detail["batching"]["answers"] == batch
    for row in found:
        row.pop("seconds")
    return sorted(found, key=lambda row: (place[row["prompt_id"]], row["sample"]))


@pytest.mark.parametrize("how", [{}, {"temperature": 0.7, "top_p": 0.9, "top_k": 20}])
def test_batch_size_and_order_do_not_change_a_row(folders, how):
    texts = _texts(90)
    job = _job(folders["llama"], **how)
    whole = _answer(job, texts)
    assert len(whole) == 90 * 4
    assert len({row["response"] for row in whole}) > 250
    assert {row["finish_reason"] for row in whole} == {"stop", "length"}
    for batch in (9, 64):
        assert _answer(job, texts, batch) == whole
        assert _answer(_job(folders["llama"], batching="continuous", **how), texts, batch) == whole
    shuffled = random.Random(3).sample(range(90), 90)
    for batching in ("static", "continuous", "auto"):
        assert _answer(_job(folders["llama"], batching=batching, **how), texts, 50, shuffled) == whole


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


@pytest.mark.parametrize("batching", ["static", "continuous"])
def test_noise_of_a_batch_does_not_reach_the_rows(folders, monkeypatch, batching):
    """Logits of batches are disturbed, far more than rounding does; draws made again from the row alone keep every answer."""
    import torch

    from engine.generate.decoding import decode, sampler

    texts, job = _texts(60), _job(folders["llama"], batching=batching)
    forward, draw, noise = decode.Decoder._forward, sampler.draw, 2e-3
    disturbed = torch.Generator().manual_seed(0)

    def noisy(self, ids, mask, positions, cache, every=False):
        logits = forward(self, ids, mask, positions, cache, every)
        if cache is None:
            return logits
        signs = torch.randint(0, 2, logits.shape, generator=disturbed) * 2 - 1
        return logits + 0.9 * noise * logits.abs().amax(dim=1, keepdim=True) * signs

    plain = [row["response"] for row in _answer(job, texts, 100)]
    monkeypatch.setattr(decode.Decoder, "_forward", noisy)
    assert [row["response"] for row in _answer(job, texts, 100)] != plain, "the disturbance must be large enough to matter"
    monkeypatch.setattr(sampler, "draw", lambda logits, u, how, noise=noise: draw(logits, u, how, noise))
    assert [row["response"] for row in _answer(job, texts, 100)] == plain


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_prompts_that_join_a_running_batch_change_no_row(folders, kind):
    """Lengths of all kinds, stop strings, limits, several samples, and a sampler for each row: static and continuous, row by row."""
    texts = _texts(45, seed=4) + ["long " * 15, "b", "another " * 9]
    order = random.Random(9).sample(range(len(texts)), len(texts))
    rng = random.Random(2)
    more = {
        "temperature": [rng.choice([0.0, 0.7, 1.3]) for _ in texts],
        "top_p": [rng.choice([1.0, 0.9]) for _ in texts],
        "top_k": [rng.choice([0, 5]) for _ in texts],
        "max_tokens": [rng.choice([1, 4, 24, 40]) for _ in texts],
        "samples": [sorted(rng.sample(range(9), rng.randint(1, 6))) for _ in texts],
    }
    made = {
        batching: _answer(_job(folders[kind], batching=batching, keep_tokens=True, max_tokens=40, stop=("a", "12")), texts, 16, order, more)
        for batching in ("static", "continuous", "auto")
    }
    for rows in made.values():
        for row in rows:
            row.pop("token_logprobs")
    assert made["continuous"] == made["static"] == made["auto"]
    assert len(made["static"]) == sum(map(len, more["samples"]))
    assert len({row["response_tokens"] for row in made["static"]}) > 10
    alone = [
        row for i in range(0, len(texts), 9) for row in made["static"] if row["prompt_id"] == prompts([texts[i]])["prompt_id"][0].as_py()
    ]
    own = [
        _answer(
            _job(folders[kind], keep_tokens=True, max_tokens=40, stop=("a", "12")),
            [texts[i]],
            16,
            None,
            {k: [v[i]] for k, v in more.items()},
        )
        for i in range(0, len(texts), 9)
    ]
    for row in (flat := [row for rows in own for row in rows]):
        row.pop("token_logprobs")
    assert flat == alone


def test_rows_join_while_others_run(folders, monkeypatch):
    """Otherwise the test above would compare static batching with itself."""
    from engine.generate.decoding import decode

    joined, join = [], decode.RoomyCache.join
    monkeypatch.setattr(decode.RoomyCache, "join", lambda self, *given: (joined.append(len(given[-1])), join(self, *given)))
    _answer(_job(folders["llama"], batching="continuous"), _texts(80), 16)
    assert len(joined) > 5
    assert sum(joined) > 100
    joined.clear()
    _answer(_job(folders["llama"]), _texts(80), 16)
    assert not joined


def test_continuous_batching_needs_layers_that_keep_everything(folders):
    with pytest.raises(ModelError, match=r"batching: continuous.*sliding window"):
        _answer(_job(folders["mistral"], batching="continuous"), _texts(3))
    backend = backends.load("transformers")(_job(folders["mistral"], batching="auto"))
    rows = backend.prepare(prompts(_texts(40)).select(["prompt_id", "messages"])).combine_chunks().to_batches()[0]
    assert sum(found.num_rows for found in backend.generate(rows)) == 160
    assert backend.detail["batching"]["way"] == "static"
    assert "no prompt can join" in backend.detail["batching"]["why"]


def test_auto_measures_both_and_keeps_the_faster(folders):
    backend = backends.load("transformers")(replace(_job(folders["llama"], batching="auto"), batch=16))
    rows = backend.prepare(prompts(_texts(40)).select(["prompt_id", "messages"])).combine_chunks().to_batches()[0]
    assert sum(found.num_rows for found in backend.generate(rows)) == 160
    told = backend.detail["batching"]
    assert told["way"] == max(told["tokens_per_second"], key=told["tokens_per_second"].__getitem__)
    assert set(told["tokens_per_second"]) == {"static", "continuous"}


def test_few_answers_and_half_precision_are_nothing_to_measure(folders):
    from engine.generate.decoding import decode

    backend = backends.load("transformers")(replace(_job(folders["llama"], batching="auto"), batch=16))
    rows = backend.prepare(prompts(_texts(9)).select(["prompt_id", "messages"])).combine_chunks().to_batches()[0]
    assert sum(found.num_rows for found in backend.generate(rows)) == 36
    assert backend.detail["batching"] == {"answers": 16, "way": "continuous"}
    model, _ = models.load(folders["llama"], CPU)
    half = decode.Decoder(model.bfloat16(), {0}, None, 1)
    half.batching.begins(100, 1)
    assert half.batching.way == "continuous"  # rows may depend on it there, and must not depend on a clock


def test_batching_stays_out_of_the_fingerprint(tmp_path):
    backend = backends.load("transformers")
    assert all(backend.settings(backend.Params(batching=way), tmp_path) == {} for way in ("static", "continuous", "auto"))


@pytest.mark.parametrize("batching", ["static", "continuous"])
def test_kept_tokens_are_those_of_a_plain_pass(folders, batching):
    import torch

    texts = _texts(30)
    rows = _answer(_job(folders["llama"], 2, batching=batching, keep_tokens=True), texts, 16)
    model, words = models.load(folders["llama"], CPU)
    by_id = dict(zip(prompts(texts)["prompt_id"].to_pylist(), texts, strict=True))
    for row in rows:
        prompt, tokens = words(by_id[row["prompt_id"]])["input_ids"], row["tokens"]
        assert len(tokens) == row["response_tokens"] == len(row["token_logprobs"])
        assert (tokens[-1] == 0) == (row["finish_reason"] == "stop")
        assert words.decode(tokens, skip_special_tokens=True) == row["response"]
        with torch.inference_mode():
            logps = model(torch.tensor([prompt + tokens])).logits[0].double().log_softmax(1)[len(prompt) - 1 : -1]
        own = logps.gather(1, torch.tensor(tokens).unsqueeze(1)).squeeze(1)
        assert row["token_logprobs"] == pytest.approx(own.tolist(), abs=1e-4)
    assert {row["finish_reason"] for row in rows} == {"stop", "length"}
    plain = _answer(_job(folders["llama"], 2, batching=batching), texts, 16)
    assert [row | {"tokens": None, "token_logprobs": None} for row in rows] == plain
