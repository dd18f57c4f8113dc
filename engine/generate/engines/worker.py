"""What an engine's process runs: vLLM, asked and answering by JSON lines. It imports nothing of Rondo.

    python worker.py PARENT          PARENT: the process id that must be its parent's, or it ends

It is run by an interpreter that has vLLM, which need not be Rondo's. Orders, on standard input:

    {"start": {...}}                 arguments of vllm.EngineArgs; comes first
    {"prompt": [ids], "how": {...}, "answers": [[id, seed], ...], "lora": [name, number, folder] or null, "each": true or false}
                                     so many answers to one prompt; `how` are arguments of vllm.SamplingParams, `each`: tell the
                                     log-probability of each token
    {"end": true}                    finish, free everything, exit

News, on standard output:

    {"ready": {"vllm": version, "max_model_len": tokens}}
    {"done": [[id, tokens, reason, logprob, logprobs or null], ...]}
    {"refused": id, "words": why}
    {"beat": answers under way}      at least every second or so while it works

Whatever libraries print goes to standard error. The process leads a process group. It dies with Rondo's process, and the group dies with
it.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any, BinaryIO

SET_PDEATHSIG = 1  # linux/prctl.h
BEAT = 1.0  # seconds between two signs of life


def bind_to(parent: int, what: signal.Signals) -> None:
    """Makes the kernel send this process a signal when its parent dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(SET_PDEATHSIG, what, 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it died before the call above, or something stands between it and us
        sys.exit(f"expected to be started by process {parent}, found {os.getppid()}: a script around an interpreter must `exec` it")


def guard() -> None:
    """Forks a process that does nothing but kill this group once this process is dead, whatever killed it: those that an engine
    starts itself (a GPU each) would outlive it."""
    own = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    if os.fork():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        return
    os.close(0)
    os.close(1)  # so that Rondo sees the end of both
    bind_to(own, signal.SIGUSR1)
    signal.sigwait({signal.SIGUSR1})
    os.killpg(0, signal.SIGKILL)


def channel() -> tuple[BinaryIO, BinaryIO]:
    """(orders, news): this process's input and output, out of reach of whatever libraries read and print."""
    orders, news = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, news


def listen(orders: BinaryIO, into: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Reads orders until one says that it is the last."""
    for line in orders:
        order = json.loads(line)
        into.put(order)
        if "end" in order:
            return
    os.killpg(0, signal.SIGKILL)  # nobody is there any more: neither for this process nor for those that it started


class Worker:
    """An engine with its orders."""

    def __init__(self, news: BinaryIO) -> None:
        self._news = news
        self._orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._each: dict[str, bool] = {}  # the answers under way
        self._said = 0.0
        self._loras: dict[int, Any] = {}

    def say(self, news: dict[str, Any]) -> None:
        """Sends a line."""
        self._news.write(json.dumps(news, separators=(",", ":")).encode() + b"\n")
        self._news.flush()
        self._said = time.monotonic()

    def run(self, orders: BinaryIO) -> None:
        """Starts the engine and answers until the last order."""
        threading.Thread(target=listen, args=(orders, self._orders), daemon=True).start()
        arguments = self._orders.get()["start"]
        import vllm

        self._engine = vllm.LLMEngine.from_engine_args(vllm.EngineArgs(**arguments))
        longest = self._engine.vllm_config.model_config.max_model_len
        self.say({"ready": {"vllm": vllm.__version__, "max_model_len": longest}})
        while self._take():
            self._step()
        self._engine.engine_core.shutdown()

    def _take(self) -> bool:
        """Hands the engine what has been ordered, waiting only when it has nothing to do; False at the end."""
        while True:
            try:
                order = self._orders.get(block=not self._each)
            except queue.Empty:
                return True
            if "end" in order:
                return False
            self._add(order)

    def _add(self, order: dict[str, Any]) -> None:
        from vllm import SamplingParams
        from vllm.inputs import tokens_input

        how = dict(order["how"])
        if "structured_outputs" in how:
            from vllm.sampling_params import StructuredOutputsParams

            how["structured_outputs"] = StructuredOutputsParams(**how["structured_outputs"])
        for number, seed in order["answers"]:
            try:
                params = SamplingParams(**how, seed=seed)
                self._engine.add_request(str(number), tokens_input(order["prompt"]), params, lora_request=self._lora(order["lora"]))
            except (ValueError, TypeError, refusal()) as error:
                self.say({"refused": number, "words": f"{type(error).__name__}: {error}"})
            else:
                self._each[str(number)] = order["each"]

    def _lora(self, named: list[Any] | None) -> Any:
        if named is None:
            return None
        from vllm.lora.request import LoRARequest

        name, number, folder = named
        if number not in self._loras:
            self._loras[number] = LoRARequest(name, number, folder)
        return self._loras[number]

    def _step(self) -> None:
        """One step of the engine: every running answer gets a token."""
        done = [self._told(output) for output in self._engine.step() if output.finished]
        if done:
            self.say({"done": done})
        elif time.monotonic() - self._said > BEAT:
            self.say({"beat": len(self._each)})

    def _told(self, output: Any) -> list[Any]:
        each, answer = self._each.pop(output.request_id), output.outputs[0]
        tokens = list(answer.token_ids)
        logprobs = [at[token].logprob for token, at in zip(tokens, answer.logprobs, strict=True)]
        return [int(output.request_id), tokens, answer.finish_reason, sum(logprobs), logprobs if each else None]


def refusal() -> type[Exception]:
    """What vLLM raises for a request that it does not take."""
    from vllm.exceptions import VLLMClientError

    return VLLMClientError


if __name__ == "__main__":
    bind_to(int(sys.argv[1]), signal.SIGKILL)
    guard()
    told, said = channel()
    Worker(said).run(told)
