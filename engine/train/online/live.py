"""Answers of a model while it trains: the backend `transformers` around weights that are in memory already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from engine.generate import Job
from engine.generate.encoding import ends, room, token_ids
from engine.generate.transformers import Transformers

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from engine.generate.decoding.stops import Stops


class Live(Transformers):
    """Decodes with `model`, an adapter in its layers included, as it is when it is asked."""

    def __init__(self, job: Job, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(job)
        self._weights, self._words = model, tokenizer

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return self._words

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, set[int], Stops | None, int | None]:
        from engine.generate.decoding.stops import Stops

        model, tokenizer, sampler = self._weights, self._words, self.job.sampler
        config = model.config.get_text_config()
        own = model.generation_config.eos_token_id if model.generation_config else None
        last = ends(own, config.eos_token_id, tokenizer.eos_token_id)
        stops = Stops(sampler.stop, tokenizer, max(config.vocab_size, len(tokenizer))) if sampler.stop else None
        return model, last, stops, getattr(config, "max_position_embeddings", None)

    def longest(self, prompts: pa.Table) -> tuple[str, int]:
        """The prompt whose row may get longest, and how many tokens that is, its longest answer included. DataError as in `room`."""
        most = self._loaded[3]
        ids = token_ids(self._tokenizer, prompts["messages"].to_pylist(), self.job.chat)
        found = [
            (len(own) + room(prompt, own, most, self.job.sampler.max_tokens), prompt)
            for prompt, own in zip(prompts["prompt_id"].to_pylist(), ids, strict=True)
        ]
        tokens, prompt = max(found)
        return prompt, tokens

    def prompt_tokens(self, messages: list[list[dict[str, Any]]]) -> list[list[int]]:
        """Token ids of prompts as the model sees them."""
        return token_ids(self._tokenizer, messages, self.job.chat)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """The model as it decodes: in evaluation mode, on a CPU with the attention that is fast there. Afterwards as it was, and
        nothing that was made of the weights is kept: they will change."""
        import torch

        from engine.generate.decoding import attention

        model = self._weights
        training, before = model.training, model.config._attn_implementation
        model.eval()
        if self.job.device.attention == "auto":
            attention.use(model)
        try:
            with torch.no_grad():
                yield
        finally:
            self._decoder = None
            if model.config._attn_implementation != before:
                model.set_attn_implementation(before)
            model.train(training)
