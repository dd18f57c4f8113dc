"""Answers with vLLM, offline, in processes of their own: the backend `vllm` (Kwon et al., "Efficient Memory Management for Large
Language Model Serving with PagedAttention", SOSP 2023, https://github.com/vllm-project/vllm).

An answer is one request with a seed of its own; the answers to a prompt share its prefill. Prompts go in and answers come out as
token ids. vLLM draws from a seed otherwise than `transformers` does, so sampled answers differ from those; greedy ones are the
same where the arithmetic is. Rounding depends on what runs beside a request: in half precision two runs may differ.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine import models
from engine.adapters import Adapter, find, provided
from engine.errors import DataError, ModelError, SpecError, StepError
from engine.generate import Backend, Job, backends
from engine.generate.asks import Asked, asked
from engine.generate.encoding import read_ends, room, token_ids
from engine.generate.engines.hints import hint
from engine.generate.engines.launch import COLDEST, VllmParams, constraint, installed, launch, seen
from engine.generate.engines.pool import Drawn, Order, Pool, Refused
from engine.generate.rows import generations
from engine.ids import digest
from engine.spec import Sampler
from engine.warm import Warm

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DECIMALS = 2  # of a summed log-probability, as in `transformers`: further ones depend on what ran beside a request


@backends.register("vllm")
class Vllm(Backend):
    """Asks a started engine, which it leaves to the steps after it where somebody keeps it (`job.warm`)."""

    revision = 1
    schedules = True
    keeps_engine = True
    Params = VllmParams

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        if job.model is None:
            raise ModelError("the backend 'vllm' needs a model, found none", where=job.step)
        self._params: VllmParams = job.params
        self._model = job.model
        self._warm = job.warm or Warm()
        self._deaths = 0
        self._constraint = constraint(self._params, job.spec_path)

    @classmethod
    def settings(cls, params: VllmParams, spec_path: Path) -> dict[str, Any]:
        """What changes answers: a schema by what it says, not by where it stands."""
        return params.model_dump(mode="json") | {"json_schema": (constraint(params, spec_path) or {}).get("json")}

    @classmethod
    def check(cls, params: VllmParams, spec_path: Path) -> None:
        """SpecError for a schema that is none and where vLLM is not installed."""
        constraint(params, spec_path)
        if not installed(params.interpreter(spec_path)):
            raise SpecError(
                f"the backend 'vllm': {params.interpreter(spec_path)} has no vLLM",
                hint="`pip install vllm==0.32.0`, or set params.python to the Python of an environment that has it",
            )

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return models.load_tokenizer(self._model.path, self.job.trust_remote_code)

    @cached_property
    def _adapter(self) -> Adapter | None:
        adapter = find(self._model.path)
        if adapter is None:
            return None
        if adapter.kind != "LORA" or any(".lora_" not in name for name in provided(adapter)):
            what = f"of the kind {adapter.kind}" if adapter.kind != "LORA" else "that replaces whole tensors of its base"
            raise ModelError(f"vLLM cannot serve an adapter {what}", where=str(adapter.path), hint="use `transformers`, or merge it")
        return adapter

    @cached_property
    def _limits(self) -> tuple[set[int], int | None]:
        """The tokens that end an answer, and the most that the model takes."""
        ends, longest = read_ends(seen(self._model, self._adapter), self._tokenizer, self.job.trust_remote_code)
        return ends, self._params.max_model_len or longest

    def prepare(self, prompts: pa.Table) -> pa.Table:
        """All of them. DataError for one without tokens or too long, before an engine starts."""
        for prompt, ids in zip(prompts["prompt_id"].to_pylist(), self._ids(prompts["messages"].to_pylist()), strict=True):
            room(prompt, ids, self._limits[1], 1)
        return prompts

    def _ids(self, messages: list[list[dict[str, Any]]]) -> list[list[int]]:
        return token_ids(self._tokenizer, messages, self.job.chat)

    def _pool(self) -> Pool:
        """The engine; a new one where the one that lives has another model or other arguments."""
        made = launch(self.job, self._params, self._adapter, self._limits[1], self._warm.logs)
        key = digest("vllm", made.launch.python, made.model, made.launch.arguments, list(made.launch.environments))
        before = self._warm.key
        pool = self._warm.take(key, lambda: Pool(made.launch), made.devices)
        if before != key:
            self.detail["engine_starts"] = self.detail.get("engine_starts", 0) + 1
            self.detail["engine_start_seconds"] = round(self.detail.get("engine_start_seconds", 0.0) + pool.seconds, 1)
        self.detail["vllm"] = pool.ready["vllm"]
        return pool

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Answers as they finish. DataError for a prompt that cannot be answered; StepError where the engine dies again and again."""
        wanted, ids = asked(self.job, asks), self._ids(asks.column("messages").to_pylist())
        orders = self._orders(asks.column("prompt_id").to_pylist(), ids, wanted)
        sizes = [len(own) for own, count in zip(ids, wanted.counts, strict=True) for _ in range(count)]
        pool, began = self._pool(), time.perf_counter()
        try:
            for drawn in pool.run(orders, self._died):
                now = time.perf_counter()
                yield self._rows(wanted, sizes, drawn, now - began)
                began = now
        except Refused as error:
            text = f"vLLM does not take this request: {error.words}"
            raise DataError(text, where=f"prompt {wanted.prompts[error.answer]}", hint="see its messages with `rondo sql`") from error

    def _orders(self, prompts: list[str], ids: list[list[int]], wanted: Asked) -> list[Order]:
        """One for each row of asks."""
        seeds, orders, at = wanted.seeds(self.job), list[Order](), 0
        lora = self._adapter and (self._model.digest, int(self._model.digest, 16) % (2**31 - 1) + 1, str(self._adapter.path))
        for prompt, own, count in zip(prompts, ids, wanted.counts, strict=True):
            if count:
                sampler = wanted.samplers[at]
                how = self._how(sampler, room(prompt, own, self._limits[1], sampler.max_tokens))
                answers = [(number, seeds[number]) for number in range(at, at + count)]
                orders.append(Order(own, how, answers, lora, self.job.keep_tokens))
            at += count
        return orders

    def _how(self, sampler: Sampler, most: int) -> dict[str, Any]:
        """Arguments of vLLM's SamplingParams. SpecError for a temperature that it would change."""
        if 0 < sampler.temperature < COLDEST:
            text = f"temperature: vLLM draws at {COLDEST} where it is asked for {sampler.temperature}"
            raise SpecError(text, where=self.job.step, hint=f"0 (greedy), or {COLDEST} and more")
        stop = list(sampler.stop)
        found: dict[str, Any] = {"temperature": sampler.temperature, "top_p": sampler.top_p, "top_k": sampler.top_k, "max_tokens": most}
        found |= {"stop": stop, "detokenize": bool(stop), "ignore_eos": True, "stop_token_ids": sorted(self._limits[0])}
        return found | {"logprobs": 0} | ({"structured_outputs": self._constraint} if self._constraint else {})

    def _died(self, why: str) -> None:
        self._deaths += 1
        self.detail["engine_restarts"] = self._deaths
        if self._deaths > self._params.restarts:
            raise StepError(
                f"{self.job.step}: the engine died {self._deaths} times, at last so: {why}",
                where=str(self._warm.logs),
                hint=f"{hint(why)}; then run again: finished answers are kept",
            )

    def _rows(self, wanted: Asked, sizes: list[int], drawn: list[Drawn], seconds: float) -> pa.RecordBatch:
        """Rows of answers that finished together."""
        odd = next((one for one in drawn if one.reason not in ("stop", "length")), None)
        if odd is not None:
            raise StepError(f"{self.job.step}: vLLM ended an answer to prompt {wanted.prompts[odd.answer]} with {odd.reason!r}")
        numbers, ends = [one.answer for one in drawn], self._limits[0]
        own = Asked(
            [1] * len(drawn),
            [wanted.prompts[number] for number in numbers],
            [wanted.samples[number] for number in numbers],
            [wanted.samplers[number] for number in numbers],
        )
        bare = [one.tokens[:-1] if one.tokens and one.tokens[-1] in ends else one.tokens for one in drawn]
        texts = self._tokenizer.batch_decode(bare, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return generations(
            self.job,
            own,
            [_cut(text, sampler.stop) for text, sampler in zip(texts, own.samplers, strict=True)],
            seconds=seconds,
            seeds=own.seeds(self.job),
            how={"backend": "vllm", **self.settings(self._params, self.job.spec_path)},
            finish_reason=[one.reason for one in drawn],
            prompt_tokens=[sizes[number] for number in numbers],
            response_tokens=[len(one.tokens) for one in drawn],
            logprob=[round(one.logprob, DECIMALS) + 0.0 for one in drawn],
            tokens=[one.tokens for one in drawn] if self.job.keep_tokens else None,
            token_logprobs=[one.logprobs for one in drawn] if self.job.keep_tokens else None,
        )

    def close(self) -> None:
        """Ends the engine, unless somebody keeps it."""
        if self.job.warm is None:
            self._warm.close()


def _cut(text: str, stops: tuple[str, ...]) -> str:
    """`text` up to the first stop string."""
    return text[: min([at for stop in stops if (at := text.find(stop)) >= 0], default=len(text))]
