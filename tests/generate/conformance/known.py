"""The backends of the conformance suite, one class each. A new backend is one more class here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import generate_tiny as tiny
from engine.generate import Job, backends
from engine.ids import content_id, digest
from engine.spec import Sampler
from engine.warm import Warm
from generate.conformance import oracle
from generate.conformance.rigs import MANY, TEXTS, Rig, Row, Unanswerable, drawn_with
from vllm_standin import calls, interpreter


class Transformers(Rig):
    """A tiny model in this process; waiting prompts join the running batch or not, as the first batches say."""

    name = "transformers"
    batching: ClassVar[str] = "auto"
    schedules = True
    tokens = token_logprobs = True
    speed = ({"batching": "auto"}, {"batching": "static"}, {"batching": "continuous"})
    bad = (({"batching": "dynamic"}, r"generate\.params\.batching"), ({"batchin": "static"}, r"generate\.params\.batchin.*'batching'"))
    unanswerable = (Unanswerable("", "without a single token"), Unanswerable("a" * 130, "130 tokens and the model takes 128"))

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.model = tiny.save(folder / "model")

    def params(self) -> dict[str, Any]:
        return {"batching": self.batching}


class Static(Transformers):
    """A batch is answered whole before the next one begins."""

    batching = "static"


class Continuous(Transformers):
    """Waiting prompts take the places of answers that end."""

    batching = "continuous"


class Recorded(Rig):
    """A file with six answers to each prompt."""

    name = "recorded"
    sampled = counts = logprobs = False
    pause = 0.02
    other = ({"path": "other.jsonl"}, {"missing": "skip"})
    bad = (
        ({"respons": "x"}, r"generate\.params\.respons"),
        ({"path": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"response": "answer"}, "no column 'answer'"),
        ({"path": "broken.jsonl"}, r"broken\.jsonl:2"),
    )
    unanswerable = (Unanswerable("never seen", "0"), Unanswerable("seen once", "1"))

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rows = [{"prompt": text, "response": [f"{text} {i}" for i in range(6)]} for text in (*TEXTS, *MANY)]
        self._write("answers.jsonl", [*rows, {"prompt": "seen once", "response": "once"}])
        self._write("other.jsonl", [row | {"response": ["other"] * 6} for row in rows])
        self._write("broken.jsonl", [rows[0], {"prompt": rows[1]["prompt"], "response": 3}])

    def _write(self, name: str, rows: list[Row]) -> None:
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def params(self) -> dict[str, Any]:
        return {"path": str(self.folder / "answers.jsonl")}

    def expected_id(self, job: Job, row: Row, sampler: Sampler) -> str:
        source = f"{row['model']}/{content_id(row['response'])}"
        return digest(source, row["prompt_id"], row["actor"], {}, None, row["sample"], 0, None)


class Gold(Rig):
    """The references of the prompts."""

    name = "gold"
    most = 1
    sampled = counts = logprobs = False
    pause = 0.02
    other = ({"path": "$.solution"}, {"form": "so {gold}"}, {"missing": "skip"})
    bad = (
        ({"form": "no place"}, r"generate\.params\.form"),
        ({"path": "solution"}, r"generate\.params\.path"),
        ({"path": "$.*"}, r"\$\.\*"),
        ({"forms": "x"}, r"generate\.params\.forms"),
    )
    unanswerable = (Unanswerable("", "no reference"), Unanswerable("without meta", "$.solution", {"path": "$.solution"}))

    def expected_id(self, job: Job, row: Row, sampler: Sampler) -> str:
        source = f"gold/{content_id(row['response'])}"
        return digest(source, row["prompt_id"], row["actor"], {}, None, row["sample"], 0, None)


class Server(Rig):
    """A server of another process (of another thread, where the suite asks it from its own)."""

    name = "openai"
    schedules = True
    token_logprobs = True
    in_flight = 8  # twice `concurrency`: replies may have come and wait to be written down
    speed = (
        *({"url": "http://127.0.0.1:9/v1"}, {"concurrency": 1}, {"timeout": 5}, {"attempts": 2}, {"patience": 3}, {"backoff": 0}),
        *({"price_prompt": 1.0, "price_response": 2.0}, {"refused": "keep"}, {"key_env": "A_KEY"}),
    )
    other = (
        *({"model": "another"}, {"identity": "elsewhere"}, {"api": "completions"}, {"extra": {"reasoning_effort": "low"}}),
        *({"send_seed": False}, {"samples_per_request": 2}, {"json_schema": {"type": "object"}}),
    )
    bad = (
        ({"url": "no url"}, r"params\.url"),
        ({"url": "http://user:secret@host/v1"}, r"params\.url"),
        ({"extra": {"seed": 3}}, r"params\.extra: seed"),
        ({"json_schema": {"type": 3}}, r"params\.json_schema"),
        ({"json_schema": "nowhere.json"}, r"nowhere\.json"),
        ({"concurrency": 0}, r"generate\.params\.concurrency"),
        ({"modell": "x"}, r"generate\.params\.modell"),
    )
    unanswerable = (Unanswerable(oracle.REFUSED, "not allowed"),)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = oracle.serve()
        self._server.__enter__()

    def params(self) -> dict[str, Any]:
        own = {"url": self._server.url, "model": "oracle", "identity": "a server", "concurrency": 4, "backoff": 0.01}
        return {**own, "send_top_k": True, "attempts": 2}

    def expected_id(self, job: Job, row: Row, sampler: Sampler) -> str:
        source = digest(job.params.who(job.spec_path))
        return digest(source, row["prompt_id"], row["actor"], drawn_with(job, sampler), row["seed"], row["sample"], 0, None)

    def work(self) -> int:
        return self._server.count

    def close(self) -> None:
        self._server.__exit__(None, None, None)


class Vllm(Rig):
    """A stand-in of vLLM in a process of its own, around a tiny model's tokenizer."""

    name = "vllm"
    schedules = True
    tokens = token_logprobs = True
    in_flight = 16  # twice the window of requests that the process holds
    speed = (
        *({"tensor_parallel": 2}, {"data_parallel": 2}, {"gpu_memory": 0.5}, {"kv_cache_gb": 1}, {"max_running": 2}),
        *({"enforce_eager": True}, {"start_timeout": 5}, {"stall_timeout": 5}, {"restarts": 0}),
    )
    other = (
        *({"max_model_len": 64}, {"dtype": "bfloat16"}, {"quantization": "fp8"}, {"engine": {"swap_space": 1}}),
        *({"json_schema": {"type": "object"}}, {"choice": ["a", "b"]}, {"regex": "[ab]"}),
    )
    bad = (
        ({"python": "nowhere/python"}, "nowhere/python"),
        ({"choice": ["a"], "regex": "a"}, "choice"),
        ({"json_schema": {"type": 3}}, r"params\.json_schema"),
        ({"engine": {"seed": 1}}, "seed"),
        ({"max_runing": 1}, r"generate\.params\.max_runing"),
    )
    unanswerable = Transformers.unanswerable

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.model = tiny.save(folder / "model")
        self.warm = Warm(logs=folder)

    def params(self) -> dict[str, Any]:
        return {"python": interpreter(self.folder), "max_running": 4}

    def expected_id(self, job: Job, row: Row, sampler: Sampler) -> str:
        how = {"backend": "vllm", **backends.load("vllm").settings(job.params, job.spec_path)}
        return digest(row["model"], row["prompt_id"], row["actor"], drawn_with(job, sampler) | how, row["seed"], row["sample"], 0, None)

    def work(self) -> int:
        return len(calls(self.folder, "prompt"))

    def close(self) -> None:
        self.warm.close()


RIGS: list[type[Rig]] = [Transformers, Static, Continuous, Recorded, Gold, Server, Vllm]
