"""As much of vLLM's interface as Rondo's worker uses, in plain Python: answers are a hash of the prompt, the seed and the adapter.

How it misbehaves stands in the environment variable STANDIN (see tests/vllm_standin.py); what it is asked it writes down.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vllm.exceptions import VLLMClientError
from vllm.sampling_params import SamplingParams

__version__ = "0.0.standin"
__all__ = ["EngineArgs", "LLMEngine", "SamplingParams"]
print("vllm: a line on standard output that is no news")


class EngineArgs:
    """Arguments of the engine; those that vLLM does not know are errors."""

    def __init__(self, model: str, **given: Any) -> None:
        unknown = set(given) - {
            *("dtype", "trust_remote_code", "tensor_parallel_size", "gpu_memory_utilization", "max_num_seqs", "enforce_eager", "seed"),
            *("enable_prefix_caching", "generation_config", "logprobs_mode", "disable_log_stats", "max_model_len", "quantization"),
            *("enable_lora", "max_lora_rank", "max_loras", "swap_space"),
        }
        if unknown:
            raise TypeError(f"unexpected arguments: {sorted(unknown)}")
        self.given = {"model": model, **given}


@dataclass
class Request:
    """One answer under way: all its tokens are known from the start, and told one a step."""

    name: str
    tokens: list[int]
    reason: str
    told: int = 0
    finished: bool = False
    outputs: list[Any] = field(default_factory=list)

    @property
    def request_id(self) -> str:
        return self.name


class LLMEngine:
    """Answers requests, as many at a time as max_num_seqs says."""

    def __init__(self, args: dict[str, Any]) -> None:
        self.how = json.loads(os.environ.get("STANDIN", "{}"))
        self.args, self.running = args, list[Request]()
        self.answered = 0
        self.calls = Path(self.how["calls"])
        self.born = sum('"start"' in line for line in self.calls.read_text().splitlines()) if self.calls.exists() else 0
        helper = subprocess.Popen(["sleep", "1000"]).pid if self.how.get("helper") else None
        self.say({"start": args, "pid": os.getpid(), "helper": helper, "devices": os.environ.get("CUDA_VISIBLE_DEVICES")})
        if self.how.get("words"):
            raise RuntimeError(self.how["words"])
        time.sleep(self.how.get("start_seconds", 0))
        folder = Path(args["model"])
        config = json.loads((folder / "config.json").read_text())
        vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        self.letters = {number: "" if text.startswith("<") else text for text, number in vocabulary.items()}
        longest = args.get("max_model_len") or config["max_position_embeddings"]
        self.vllm_config = SimpleNamespace(model_config=SimpleNamespace(max_model_len=longest))
        self.engine_core = SimpleNamespace(shutdown=lambda: self.say({"end": os.getpid()}))

    @classmethod
    def from_engine_args(cls, args: EngineArgs) -> "LLMEngine":
        return cls(args.given)

    def say(self, what: dict[str, Any]) -> None:
        with self.calls.open("a") as file:
            file.write(json.dumps(what) + "\n")

    def add_request(self, request_id: str, prompt: dict[str, Any], params: SamplingParams, lora_request: Any = None) -> None:
        ids = prompt["prompt_token_ids"]
        if len(ids) + params.max_tokens > self.vllm_config.model_config.max_model_len or self.how.get("refuse") in ids:
            raise VLLMClientError("this prompt is not taken")
        name = lora_request.lora_name if lora_request else None
        self.say({"prompt": ids, "params": params.given, "lora": name, "pid": os.getpid()})
        tokens, reason = self.draw(ids, params, name)
        self.running.append(Request(request_id, tokens, reason))

    def draw(self, ids: list[int], params: SamplingParams, lora: str | None) -> tuple[list[int], str]:
        """An answer: a token ends it with probability 1 in 10."""
        tokens, text, count = list[int](), "", len(self.letters)
        while len(tokens) < params.max_tokens:
            how = [params.given[name] for name in ("seed", "temperature", "top_p", "top_k")] if params.temperature else None
            key = json.dumps([ids, how, lora, len(tokens)])
            drawn = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16)
            token = params.stop_token_ids[0] if drawn % 10 == 0 else 2 + drawn % (count - 2)
            tokens.append(token)
            text += self.letters[token]
            if token in params.stop_token_ids or any(stop in text for stop in params.stop):
                return tokens, "stop"
        return tokens, "length"

    def has_unfinished_requests(self) -> bool:
        return bool(self.running)

    def step(self) -> list[Request]:
        """One more token for those that run."""
        self.trouble()
        time.sleep(self.how.get("step_seconds", 0))
        for request in self.running[: self.args["max_num_seqs"]]:
            request.told += 1
            if request.told >= len(request.tokens):
                request.finished = True
                logprobs = [{token: SimpleNamespace(logprob=-1.0 - token / 64)} for token in request.tokens]
                request.outputs = [SimpleNamespace(token_ids=request.tokens, finish_reason=request.reason, logprobs=logprobs)]
        done = [request for request in self.running if request.finished]
        self.answered += len(done)
        self.running = [request for request in self.running if not request.finished]
        return done

    def trouble(self) -> None:
        """`die`, `hang`: once so many answers are told the first process does it, after so many of the second the second one, ..."""
        for what in ("die", "hang"):
            after = self.how.get(what, [])
            if self.born < len(after) and self.answered >= after[self.born]:
                print("the stand-in is about to", what, file=sys.stderr, flush=True)
                if what == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(1000)
