"""vLLM itself, on a CPU: `make test-vllm RONDO_VLLM_PYTHON=/path/to/python`. An engine starts in 10 to 40 seconds."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from adapters_tiny import adapt
from engine import models
from engine.errors import SpecError, StepError
from engine.generate import Job, backends
from engine.generate.asks import with_samples
from engine.spec import Sampler
from engine.step import Model
from engine.warm import Warm
from generate_tiny import CPU, prompts, save
from processes import gone

pytestmark = pytest.mark.vllm
TEXTS = ["abc", "1+1=", "what is 2+3?", "zz", "a" * 60, "x" * 120]


@pytest.fixture(scope="module")
def python() -> str | None:
    """A Python with vLLM; None: this one."""
    named = os.environ.get("RONDO_VLLM_PYTHON")
    kind = backends.load("vllm")
    try:
        kind.check(kind.Params(python=named), Path("spec.yaml").absolute())
    except SpecError as error:
        pytest.skip(f"{error.message}; name one by RONDO_VLLM_PYTHON")
    return named


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama: vLLM's attention on a CPU needs heads of 32 numbers or more."""
    wide = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 96}
    return save(tmp_path_factory.mktemp("models") / "llama", **wide)


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    kept = Warm()
    yield kept
    kept.close()


def answer(
    backend: str, model: Path, params: dict[str, Any], sampler: Sampler, warm: Warm | None = None, samples: int = 1
) -> list[dict[str, Any]]:
    """Rows in the order of texts and samples."""
    kind = backends.load(backend)
    found = Model(models.digest(model), model)
    job = Job(
        kind.Params(**params),
        sampler,
        samples,
        None,
        found,
        CPU,
        5,
        0,
        "generations",
        False,
        model / "spec.yaml",
        keep_tokens=True,
        warm=warm,
    )
    made = kind(job)
    asks = prompts(TEXTS).select(["prompt_id", "messages"])
    place = {prompt: at for at, prompt in enumerate(asks["prompt_id"].to_pylist())}
    ready = with_samples(made.prepare(asks), [range(samples)] * len(TEXTS))
    try:
        rows = [row for rows in made.generate(ready.combine_chunks().to_batches()[0]) for row in rows.to_pylist()]
    finally:
        made.close()
    print(made.detail)
    return sorted(rows, key=lambda row: (place[row["prompt_id"]], row["sample"]))


def vllm(python: str | None, **more: Any) -> dict[str, Any]:
    return {"python": python, "kv_cache_gb": 1} | more


def plain(rows: list[dict[str, Any]], *left: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in ("seconds", *left)} for row in rows]


@pytest.mark.parametrize("sampler", [Sampler(temperature=0, max_tokens=24), Sampler(temperature=0, max_tokens=24, stop=("5", "xy"))])
def test_greedy_rows_are_those_of_transformers(python: str | None, folder: Path, warm: Warm, sampler: Sampler) -> None:
    ours = answer("transformers", folder, {}, sampler)
    theirs = answer("vllm", folder, vllm(python), sampler, warm)
    near = ("logprob", "token_logprobs", "generation_id")
    assert plain(theirs, *near) == plain(ours, *near)
    assert len({row["finish_reason"] for row in ours}) == 2 or not sampler.stop
    for one, other in zip(theirs, ours, strict=True):
        assert one["token_logprobs"] == pytest.approx(other["token_logprobs"], abs=1e-3)
        assert one["logprob"] == pytest.approx(other["logprob"], abs=0.02)


def test_eight_samples_a_prompt_have_seeds_of_their_own_and_come_again(python: str | None, folder: Path, warm: Warm) -> None:
    sampler = Sampler(temperature=1.0, top_p=0.95, top_k=20, max_tokens=24)
    first = answer("vllm", folder, vllm(python), sampler, warm, samples=8)
    assert len(first) == 48 == len({row["seed"] for row in first}) == len({row["generation_id"] for row in first})
    assert len({row["response"] for row in first[:8]}) > 1
    assert plain(answer("vllm", folder, vllm(python), sampler, warm, samples=8), "token_logprobs") == plain(first, "token_logprobs")


def test_log_probabilities_are_the_model_s_own_at_any_temperature(python: str | None, folder: Path, warm: Warm) -> None:
    import torch

    model, _ = models.load(folder, CPU)
    sampler = Sampler(temperature=0.7, top_k=5, max_tokens=8)
    for row, text in zip(answer("vllm", folder, vllm(python), sampler, warm), TEXTS, strict=True):
        ids = models.load_tokenizer(folder)(text)["input_ids"]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids + row["tokens"]])).logits[0, len(ids) - 1 : -1]
        expected = logits.log_softmax(-1)[torch.arange(len(row["tokens"])), torch.tensor(row["tokens"])]
        assert row["token_logprobs"] == pytest.approx(expected.tolist(), abs=1e-3)


@pytest.mark.parametrize(
    "form, fits",
    [
        ({"choice": ["yes", "no"]}, "(yes|no)"),
        ({"regex": "[a-c]{3}[0-9]"}, "[a-c]{3}[0-9]"),
        ({"json_schema": {"type": "integer", "minimum": 10, "maximum": 99}}, "[1-9][0-9]"),
    ],
)
def test_answers_fit_what_they_must_fit(python: str | None, folder: Path, warm: Warm, form: dict[str, Any], fits: str) -> None:
    rows = answer("vllm", folder, vllm(python, **form), Sampler(temperature=1.0, max_tokens=8), warm, samples=4)
    assert all(re.fullmatch(fits, row["response"]) for row in rows), json.dumps([row["response"] for row in rows])
    assert len({row["response"] for row in rows}) > 1


def test_an_adapter_answers_on_its_base_and_so_does_the_next_one(python: str | None, folder: Path, tmp_path: Path) -> None:
    greedy, warm = Sampler(temperature=0, max_tokens=16), Warm()
    said, keys = [answer("transformers", folder, {}, greedy)], set()
    for name, alpha in (("first", 8), ("second", 16)):
        adapter = adapt(tmp_path / name, folder, target_modules=["q_proj", "v_proj"], lora_alpha=alpha)
        ours = answer("transformers", adapter, {}, greedy)
        theirs = answer("vllm", adapter, vllm(python), greedy, warm)
        keys.add(warm.key)
        assert [row["tokens"] for row in theirs] == [row["tokens"] for row in ours]
        said.append(theirs)
    warm.close()
    assert len(keys) == 1, "the second needed no new engine"
    assert len({json.dumps([row["response"] for row in rows]) for rows in said}) == 3


def test_the_process_is_gone_with_its_memory_when_close_returns(python: str | None, folder: Path, warm: Warm) -> None:
    began = time.monotonic()
    answer("vllm", folder, vllm(python), Sampler(temperature=0, max_tokens=4), warm)
    (pid,) = warm._engine.pids  # type: ignore[union-attr]
    held = psutil.Process(pid).memory_info().rss
    started = time.monotonic() - began
    warm.close()
    assert held > 2**28 and gone(pid, 0.1)
    print(f"started and answered in {started:.1f} s, held {held / 2**30:.2f} GiB")


def test_what_does_not_fit_into_memory_says_which_setting_to_change(python: str | None, folder: Path) -> None:
    greedy = Sampler(temperature=0, max_tokens=4)
    with pytest.raises(StepError, match="could not start") as error:
        answer("vllm", folder, vllm(python, kv_cache_gb=10**6), greedy)
    assert "kv_cache_gb" in error.value.hint, error.value
