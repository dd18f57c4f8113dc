"""The backend `vllm` around a stand-in of the package: rows, seeds, order, restarts, and processes that end."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from adapters_tiny import adapt
from engine import models, tables
from engine.errors import DataError, ModelError, SpecError, StepError
from engine.generate import Job, backends, drive
from engine.generate.asks import with_samples
from engine.generate.engines.launch import placed
from engine.spec import Sampler
from engine.step import Device, Model, Silent
from engine.warm import Warm
from generate_tiny import CPU, prompts, save, tokenizer
from processes import alive, gone
from vllm_standin import calls, interpreter

TEXTS = ["abc", "1+1=", "what is 2+3?", "zz", "a" * 60]
TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "llama")


def make(model: Path, tmp_path: Path, params: dict[str, Any] | None = None, samples: int = 4, **job: Any) -> Any:
    """A backend; `behaviour` in `job` is that of its engine."""
    behaviour = job.pop("behaviour", {})
    sampler = job.pop("sampler", Sampler(temperature=1.0, max_tokens=12))
    kind = backends.load("vllm")
    own = kind.Params(**{"python": interpreter(tmp_path, **behaviour), "start_timeout": 120} | (params or {}))
    given = {"model": Model(models.digest(model), model), "device": CPU, "seed": 5, "round": 0, "step": "generations"} | job
    return kind(Job(own, sampler, samples, None, given.pop("model"), trust_remote_code=False, spec_path=tmp_path / "spec.yaml", **given))


def batch(asks: pa.Table) -> pa.RecordBatch:
    return asks.combine_chunks().to_batches()[0]


def answer(backend: Any, texts: list[str] = TEXTS) -> list[dict[str, Any]]:
    """Rows in the order of texts and samples."""
    asks = backend.prepare(prompts(texts).select(["prompt_id", "messages"]))
    place = {prompt: at for at, prompt in enumerate(asks["prompt_id"].to_pylist())}
    try:
        found = [row for rows in backend.generate(batch(asks)) for row in rows.to_pylist()]
    finally:
        backend.close()
    return sorted(found, key=lambda row: (place[row["prompt_id"]], row["sample"]))


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_each_answer_comes_once_with_a_seed_of_its_own(folder: Path, tmp_path: Path) -> None:
    rows = answer(make(folder, tmp_path, keep_tokens=True))
    assert [(row["sample"], row["prompt_tokens"]) for row in rows] == [(n, len(text)) for text in TEXTS for n in range(4)]
    tables.check("generations", pa.Table.from_pylist(rows, schema=tables.TABLES["generations"].columns))
    asked = calls(tmp_path, "prompt")
    assert len({call["params"]["seed"] for call in asked}) == len(rows) == len({row["generation_id"] for row in rows})
    assert {call["params"]["seed"] for call in asked} == {row["seed"] for row in rows}
    words = tokenizer()
    assert Counter(tuple(call["prompt"]) for call in asked) == Counter({tuple(words(text)["input_ids"]): 4 for text in TEXTS})
    for row in rows:
        ended = row["tokens"][-1] == 0
        assert row["finish_reason"] == ("stop" if ended else "length") and (ended or len(row["tokens"]) == 12)
        assert row["response"] == words.decode(row["tokens"][:-1] if ended else row["tokens"])
        assert row["response_tokens"] == len(row["tokens"]) == len(row["token_logprobs"])
        assert row["logprob"] == pytest.approx(sum(row["token_logprobs"]), abs=0.006)
    assert {row["finish_reason"] for row in rows} == {"stop", "length"}


def test_rows_are_the_same_again_and_others_for_another_seed_round_step_or_actor(folder: Path, tmp_path: Path) -> None:
    first = plain(answer(make(folder, tmp_path)))
    assert first == plain(answer(make(folder, tmp_path), TEXTS))
    assert first == plain(answer(make(folder, tmp_path, {"data_parallel": 2, "max_running": 1})))
    for other in ({"seed": 6}, {"round": 1}, {"step": "eval_generations"}, {"actor": "other"}):
        rows = answer(make(folder, tmp_path, **other))
        assert not {row["generation_id"] for row in rows} & {row["generation_id"] for row in first}
        assert [row["response"] for row in rows] != [row["response"] for row in first]


def test_greedy_answers_need_no_seed_and_are_all_the_same(folder: Path, tmp_path: Path) -> None:
    rows = answer(make(folder, tmp_path, sampler=Sampler(temperature=0, max_tokens=12)))
    assert {row["seed"] for row in rows} == {None} == {call["params"]["seed"] for call in calls(tmp_path, "prompt")}
    assert all(len({row["response"] for row in rows[at : at + 4]}) == 1 for at in range(0, len(rows), 4))


def test_short_answers_do_not_wait_for_long_ones(folder: Path, tmp_path: Path) -> None:
    backend = make(folder, tmp_path, behaviour={"step_seconds": 0.02}, sampler=Sampler(temperature=0, max_tokens=120))
    asks = with_samples(prompts(["a", "b", "c", "d"]).select(["prompt_id", "messages"]), [[0]] * 4)
    lengths = [60, 50, 1, 2]
    order = [
        row["response_tokens"] for rows in backend.generate(batch(asks.append_column("max_tokens", [lengths]))) for row in rows.to_pylist()
    ]
    backend.close()
    assert order == sorted(order) and order[0] == 1
    assert [call["params"]["max_tokens"] for call in calls(tmp_path, "prompt")] == lengths


def test_the_model_s_length_caps_an_answer_and_stop_strings_are_cut_off(folder: Path, tmp_path: Path) -> None:
    rows = answer(make(folder, tmp_path, sampler=Sampler(temperature=1.0, max_tokens=100, stop=("a", "7"))))
    assert all("a" not in row["response"] and "7" not in row["response"] for row in rows)
    assert {call["params"]["max_tokens"] for call in calls(tmp_path, "prompt")} == {100, 68}
    with pytest.raises(DataError, match="128 tokens and the model takes 128"):
        make(folder, tmp_path).prepare(prompts(["b" * 128]))
    assert len(calls(tmp_path, "start")) == 1, "a prompt that is too long is found before an engine starts"
    with pytest.raises(DataError, match="30 tokens and the model takes 20"):
        answer(make(folder, tmp_path, {"max_model_len": 20}), ["c" * 30])


def test_a_prompt_that_vllm_does_not_take_is_named(folder: Path, tmp_path: Path) -> None:
    backend = make(folder, tmp_path, behaviour={"refuse": tokenizer()("z")["input_ids"][0]})
    wanted = prompts(["zz"])["prompt_id"][0].as_py()
    with pytest.raises(DataError, match="not taken") as error:
        answer(backend)
    assert wanted in str(error.value)
    assert gone(calls(tmp_path, "start")[0]["pid"])


def test_an_engine_that_dies_is_started_again_and_asked_for_what_is_missing(folder: Path, tmp_path: Path) -> None:
    whole = plain(answer(make(folder, tmp_path)))
    for what, more in (("die", {}), ("hang", {"stall_timeout": 1.0})):
        place = tmp_path / what
        place.mkdir()
        backend = make(folder, place, {"max_running": 2} | more, behaviour={what: [3, 5]})
        assert plain(answer(backend)) == whole
        assert backend.detail["engine_restarts"] == 2 and len(calls(place, "start")) == 3
        asked = calls(place, "prompt")
        again, under_way = len(asked) - len(whole), 7  # a process is asked for 2 x max_running answers, and whole prompts of 4
        assert 0 < again <= 2 * under_way
        assert sum(call["pid"] == calls(place, "start")[2]["pid"] for call in asked) < len(whole) - 3, "what was told is not asked again"
        assert all(gone(call["pid"]) for call in calls(place, "start"))


def test_an_engine_that_dies_again_and_again_is_an_error_with_its_last_words(folder: Path, tmp_path: Path) -> None:
    backend = make(folder, tmp_path, {"restarts": 1}, behaviour={"die": [2, 2, 2]})
    asks = backend.prepare(prompts(TEXTS).select(["prompt_id", "messages"]))
    with pytest.raises(StepError, match=r"(?s)died 2 times.*SIGKILL.*the stand-in is about to die"):
        drive.answers(backend, asks, batch=4, journal=tmp_path / "journal", progress=Silent(), label="generations")
    backend.close()
    assert len(calls(tmp_path, "start")) == 2
    kept = len((tmp_path / "journal" / drive.FILE).read_text().splitlines())
    assert kept >= 4
    again = make(folder, tmp_path)
    rows = drive.answers(again, asks, batch=4, journal=tmp_path / "journal", progress=Silent(), label="generations")
    again.close()
    last = calls(tmp_path, "start")[-1]["pid"]
    assert rows.num_rows == 20 and sum(call["pid"] == last for call in calls(tmp_path, "prompt")) == 20 - kept


@pytest.mark.parametrize(
    "words, told",
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", "params.gpu_memory"),
        ("No available memory for the cache blocks", "params.max_model_len"),
        ("Free memory on device cuda:0 (1.2/79 GiB) is less than desired GPU memory utilization (0.9)", "another process"),
        ("No module named 'vllm'", "pip install vllm==0.32.0"),
        ("something else", "read its log"),
    ],
)
def test_an_engine_that_cannot_start_says_why_and_what_to_do(folder: Path, tmp_path: Path, words: str, told: str) -> None:
    with pytest.raises(StepError, match="could not start") as error:
        answer(make(folder, tmp_path, behaviour={"words": words}))
    assert words in str(error.value) and told in error.value.hint and len(calls(tmp_path, "start")) == 1
    assert gone(calls(tmp_path, "start")[0]["pid"])


def test_an_engine_that_is_not_ready_in_time_is_ended(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="not ready after 5 s"):
        answer(make(folder, tmp_path, {"start_timeout": 5.0}, behaviour={"start_seconds": 1000}))
    assert gone(calls(tmp_path, "start")[0]["pid"])


def test_an_interpreter_without_vllm_or_none_at_all_is_found_before_any_work(tmp_path: Path) -> None:
    kind = backends.load("vllm")
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(SpecError, match="has no vLLM"):
        kind.check(kind.Params(python=str(bare)), tmp_path / "spec.yaml")
    with pytest.raises(SpecError, match="cannot run it"):
        kind.check(kind.Params(python="nowhere/python"), tmp_path / "spec.yaml")
    kind.check(kind.Params(python=interpreter(tmp_path)), tmp_path / "spec.yaml")


def test_a_script_that_stands_between_us_and_the_engine_is_an_error(folder: Path, tmp_path: Path) -> None:
    path = Path(interpreter(tmp_path, "between"))
    path.write_text(path.read_text().replace("\nexec ", "\n") + "exit $?\n")
    with pytest.raises(StepError, match="exec") as error:
        answer(make(folder, tmp_path, {"python": str(path)}))
    assert "exec python" in error.value.hint


def test_close_ends_the_processes_and_what_they_have_started(folder: Path, tmp_path: Path) -> None:
    backend = make(folder, tmp_path, {"data_parallel": 2}, behaviour={"helper": True})
    asks = backend.prepare(prompts(TEXTS).select(["prompt_id", "messages"]))
    assert sum(rows.num_rows for rows in backend.generate(batch(asks))) == 20
    started = [call[name] for call in calls(tmp_path, "start") for name in ("pid", "helper")]
    assert len(started) == 4 and all(map(alive, started))
    assert {call["pid"] for call in calls(tmp_path, "prompt")} == set(started[::2]), "both copies have worked"
    backend.close()
    assert not any(map(alive, started)), "gone when close returns"
    assert len(calls(tmp_path, "end")) == 2, "in good order"
    backend.close()


def test_answers_that_nobody_waits_for_end_with_their_engine(folder: Path, tmp_path: Path) -> None:
    backend = make(folder, tmp_path, behaviour={"step_seconds": 0.05})
    rows = backend.generate(batch(backend.prepare(prompts(TEXTS).select(["prompt_id", "messages"]))))
    next(rows)
    rows.close()
    assert gone(calls(tmp_path, "start")[0]["pid"])
    assert sum(found.num_rows for found in backend.generate(batch(prompts(TEXTS).select(["prompt_id", "messages"])))) == 20
    backend.close()


def test_adapters_answer_on_one_engine_of_their_base(folder: Path, tmp_path: Path) -> None:
    warm, said = Warm(), []
    for name, rank in (("first", 3), ("second", 8)):
        adapter = adapt(tmp_path / name, folder, r=rank, target_modules=["q_proj"])
        rows = answer(make(adapter, tmp_path, warm=warm))
        said.append([row["response"] for row in rows])
        assert {row["model"] for row in rows} == {models.digest(adapter)}
        assert {call["lora"] for call in calls(tmp_path, "prompt")[-len(rows) :]} == {models.digest(adapter)}
    (start,) = calls(tmp_path, "start")
    assert (start["start"]["model"], start["start"]["enable_lora"], start["start"]["max_lora_rank"]) == (str(folder), True, 8)
    assert said[0] != said[1]
    answer(make(folder, tmp_path, warm=warm))
    assert len(calls(tmp_path, "start")) == 2 and not alive(start["pid"]), "the base alone is another engine"
    warm.close()


def test_an_adapter_that_vllm_cannot_serve_is_refused_before_a_start(folder: Path, tmp_path: Path) -> None:
    kept = adapt(tmp_path / "kept", folder, target_modules=["q_proj"], modules_to_save=["norm"])
    for adapter in (kept, adapt(tmp_path / "ia3", folder, kind="IA3", target_modules=["k_proj"], feedforward_modules=[])):
        with pytest.raises(ModelError, match="vLLM cannot serve an adapter"):
            answer(make(adapter, tmp_path))
    assert not calls(tmp_path, "start")


def test_copies_on_gpus_have_devices_of_their_own(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make(folder, tmp_path, {"tensor_parallel": 2, "data_parallel": 2}, device=Device("cuda:1", 1, "bfloat16"))
    for visible, named in (("", "1,2 3,4"), ("9,8,7,6,5", "8,7 6,5")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        environments, devices = placed(backend.job, backend.job.params)
        assert [one["CUDA_VISIBLE_DEVICES"] for one in environments] == named.split()
        assert devices == ("cuda:2", "cuda:3", "cuda:4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(SpecError, match="4 GPUs from cuda:1 on"):
        placed(backend.job, backend.job.params)


KILLED = """
import sys
from pathlib import Path
from generate.vllm.test_vllm_backend import TEXTS, batch, make
from generate_tiny import prompts
backend = make(Path(sys.argv[1]), Path(sys.argv[2]), behaviour={"step_seconds": 0.2, "helper": True})
for rows in backend.generate(batch(backend.prepare(prompts(TEXTS).select(["prompt_id", "messages"])))):
    print("answered", flush=True)
"""


def test_when_rondo_is_killed_nothing_of_the_engine_is_left(folder: Path, tmp_path: Path) -> None:
    path = f"{TESTS.parent}:{TESTS}"
    ours = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), str(tmp_path)], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
    )
    assert ours.stdout is not None and ours.stdout.readline() == b"answered\n"
    (start,) = calls(tmp_path, "start")
    assert alive(start["pid"]) and alive(start["helper"])
    ours.send_signal(signal.SIGKILL)
    ours.communicate()
    assert gone(start["pid"]) and gone(start["helper"])


def test_settings_hold_what_changes_answers_and_nothing_else(tmp_path: Path) -> None:
    kind, place = backends.load("vllm"), tmp_path / "spec.yaml"
    usual = kind.settings(kind.Params(), place)
    quick = {"python": "p", "tensor_parallel": 2, "data_parallel": 2, "gpu_memory": 0.5, "kv_cache_gb": 1, "max_running": 9}
    quick |= {"enforce_eager": True, "start_timeout": 5, "stall_timeout": 5, "restarts": 0}
    assert kind.settings(kind.Params(**quick), place) == usual
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    schema = kind.settings(kind.Params(json_schema="schema.json"), place)
    assert schema == kind.settings(kind.Params(json_schema={"type": "object"}), place)
    changed = [{"max_model_len": 64}, {"dtype": "float16"}, {"quantization": "fp8"}, {"regex": "a+"}, {"choice": ["a", "b"]}]
    changed.append({"engine": {"swap_space": 1}})
    found = [kind.settings(kind.Params(**one), place) for one in changed] + [schema, usual]
    assert all(found.count(one) == 1 for one in found)


@pytest.mark.parametrize(
    "params, words",
    [
        ({"json_schema": {"type": "nothing"}}, "not a JSON Schema"),
        ({"json_schema": "none.json"}, "cannot read"),
    ],
)
def test_a_schema_that_is_none_is_found_before_any_work(tmp_path: Path, params: dict[str, Any], words: str) -> None:
    kind = backends.load("vllm")
    with pytest.raises((SpecError, DataError), match=words):
        kind.check(kind.Params(**params), tmp_path / "spec.yaml")


def test_settings_that_exclude_each_other_or_stand_elsewhere_are_refused() -> None:
    kind = backends.load("vllm")
    with pytest.raises(ValueError, match="only one of"):
        kind.Params(regex="a", choice=["a"])
    with pytest.raises(ValueError, match=r"params\.gpu_memory"):
        kind.Params(engine={"gpu_memory_utilization": 0.5})


def test_a_temperature_that_vllm_would_raise_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"0\.01"):
        answer(make(folder, tmp_path, sampler=Sampler(temperature=0.001)))


def test_what_answers_must_fit_reaches_vllm(folder: Path, tmp_path: Path) -> None:
    answer(make(folder, tmp_path, {"json_schema": {"type": "object"}}), ["a"])
    assert {str(call["params"]["asked"]) for call in calls(tmp_path, "prompt")} == {
        str({"json": {"type": "object"}, "choice": None, "regex": None})
    }
