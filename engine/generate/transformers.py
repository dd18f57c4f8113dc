"""Answers with a model of transformers in this process: the backend `transformers`.

Prompts of like length go through the model once for all their answers, and every answer draws from its own stream of random
numbers; `engine.generate.decoding.decode` has the loop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from engine import models
from engine.errors import ModelError
from engine.generate import Backend, Job, backends
from engine.generate.asks import Asked, asked, samplers
from engine.generate.encoding import ends, room, token_ids
from engine.generate.rows import generations
from engine.params import Params

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from engine.generate.decoding.decode import Decoder
    from engine.generate.decoding.running import Answer, Question
    from engine.generate.decoding.stops import Stops

FRESH = 1.0  # seconds after which finished answers are handed on, though few
LOGPROB_DECIMALS = 4  # of a token; the last digit may depend on the batch


class TransformersParams(Params):
    """Settings of the backend `transformers`; none changes a row."""

    batching: Literal["static", "continuous", "auto"] = Field(
        "auto",
        description="when waiting prompts join: once the batch is empty, or as answers end; auto: what is faster in the first batches",
    )


@backends.register("transformers")
class Transformers(Backend):
    """Loads the tokenizer when it sorts prompts and the model when it answers the first of them."""

    revision = 1
    schedules = True
    Params = TransformersParams

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        if job.model is None:
            raise ModelError("the backend 'transformers' needs a model, found none", where=job.step)
        self._model = job.model
        self._decoder: Decoder | None = None

    @classmethod
    def settings(cls, params: TransformersParams, spec_path: Any) -> dict[str, Any]:
        """None of its settings changes a row."""
        return {}

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return models.load_tokenizer(self._model.path, self.job.trust_remote_code)

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, set[int], Stops | None, int | None]:
        """The model, the tokens that end an answer, the stop strings, and the most tokens that the model takes."""
        from engine.generate.decoding import attention
        from engine.generate.decoding.stops import Stops

        model, tokenizer = models.load(self._model.path, self.job.device, self.job.trust_remote_code)
        if self.job.device.attention == "auto":
            attention.use(model)
        sampler, config = self.job.sampler, model.config.get_text_config()
        last = ends(model.generation_config.eos_token_id, config.eos_token_id, tokenizer.eos_token_id)
        stops = Stops(sampler.stop, tokenizer, max(config.vocab_size, len(tokenizer))) if sampler.stop else None
        return model, last, stops, getattr(config, "max_position_embeddings", None)

    def prepare(self, prompts: pa.Table) -> pa.Table:
        """Longest prompts first: a batch then needs little padding, and what does not fit in memory fails at once."""
        lengths = [len(ids) for ids in token_ids(self._tokenizer, prompts["messages"].to_pylist(), self.job.chat)]
        order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
        return prompts.take(pa.array(order, pa.int64()))

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Answers as they end, `job.batch` of them at a time. DataError for a prompt without tokens or too long for the model,
        ModelError where memory does not hold one answer, or for `batching: continuous` with a model that cannot do it."""
        wanted, questions = asked(self.job, asks), self._questions(asks)
        if not wanted.prompts:
            return
        first = [0, *accumulate(wanted.counts)]
        decoder = self._decoder = self._decoder or self._start(questions)
        held: list[Answer] = []
        began = time.perf_counter()
        try:
            for ended in decoder.decode(questions):
                held += ended
                if held and (len(held) >= decoder.size // 4 or time.perf_counter() - began > FRESH):
                    yield self._rows(wanted, questions, first, held, time.perf_counter() - began)
                    began, held = time.perf_counter(), []
            if held:
                yield self._rows(wanted, questions, first, held, time.perf_counter() - began)
        finally:
            self._tell(decoder)

    def _questions(self, asks: pa.RecordBatch) -> list[Question]:
        from engine.generate.decoding.running import Question
        from engine.generate.decoding.sampler import Sampling

        wanted, longest = asked(self.job, asks), self._loaded[3]
        keys, first = wanted.keys(self.job), [0, *accumulate(wanted.counts)]
        tokens = token_ids(self._tokenizer, asks.column("messages").to_pylist(), self.job.chat)
        rows = zip(asks.column("prompt_id").to_pylist(), tokens, samplers(self.job, asks), strict=True)
        return [
            Question(
                ids,
                keys[first[row] : first[row + 1]],
                Sampling(sampler.temperature, sampler.top_p, sampler.top_k),
                room(prompt, ids, longest, sampler.max_tokens),
            )
            for row, (prompt, ids, sampler) in enumerate(rows)
        ]

    def _start(self, questions: list[Question]) -> Decoder:
        from engine.generate.decoding import memory
        from engine.generate.decoding.decode import Decoder

        model, last, stops, _ = self._loaded
        way, size = self.job.params.batching, self.job.batch
        if size == "auto":
            longest = max(len(question.prompt) for question in questions)
            size = memory.fitting(model, longest, max(question.limit for question in questions))
        decoder = Decoder(model, last, stops, size, way)
        if way == "continuous" and not decoder.roomy:
            raise ModelError(
                "batching: continuous, but layers of this model keep other things than all keys and values (a sliding window, a state)",
                where=str(self._model.path),
                hint="set params.batching to auto or static",
            )
        self._asked_size = size
        return decoder

    def _rows(self, wanted: Asked, questions: list[Question], first: list[int], held: list[Answer], seconds: float) -> pa.RecordBatch:
        """The rows of answers that have ended."""
        _, last, stops, _ = self._loaded
        places = [first[answer.question] + answer.sample for answer in held]
        drawn = [answer.tokens.tolist() for answer in held]
        said = [tokens[:-1] if tokens[-1] in last else tokens for tokens in drawn]
        texts = self._tokenizer.batch_decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        keep = self.job.keep_tokens
        return generations(
            self.job,
            Asked(
                [1] * len(held),
                [wanted.prompts[place] for place in places],
                [wanted.samples[place] for place in places],
                [wanted.samplers[place] for place in places],
            ),
            [stops.cut(text) for text in texts] if stops else texts,
            seconds=seconds,
            finish_reason=["stop" if answer.stopped else "length" for answer in held],
            prompt_tokens=[len(questions[answer.question].prompt) for answer in held],
            response_tokens=[len(tokens) for tokens in drawn],
            logprob=[answer.logprob for answer in held],
            tokens=drawn if keep else None,
            token_logprobs=[(answer.logprobs.round(LOGPROB_DECIMALS) + 0.0).tolist() for answer in held] if keep else None,
        )

    def _tell(self, decoder: Decoder) -> None:
        """What of the batches is worth knowing: for the ledger, and for the user where memory was not enough."""
        told: dict[str, Any] = {"answers": decoder.size, "way": decoder.batching.way}
        if decoder.batching.found:
            told["tokens_per_second"] = {way: round(rate) for way, rate in decoder.batching.found.items()}
        if not decoder.roomy:
            told["why"] = "layers keep other things than all keys and values, so that no prompt can join a running batch"
        self.detail["batching"] = told
        if decoder.size < self._asked_size:
            self.detail["answers_at_once_after_memory_was_full"] = decoder.size

    def close(self) -> None:
        """Frees the model."""
        self._decoder = None
        self.__dict__.pop("_loaded", None)
