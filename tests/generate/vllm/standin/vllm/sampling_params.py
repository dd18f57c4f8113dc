"""Settings of one request."""

from typing import Any


class StructuredOutputsParams:
    """What answers must fit."""

    def __init__(self, json: Any = None, choice: Any = None, regex: Any = None) -> None:
        self.given = {"json": json, "choice": choice, "regex": regex}


class SamplingParams:
    """Arguments that vLLM does not know are errors."""

    def __init__(
        self,
        *,
        temperature: float,
        top_p: float,
        top_k: int,
        max_tokens: int,
        seed: int | None,
        stop: list[str],
        stop_token_ids: list[int],
        ignore_eos: bool,
        detokenize: bool,
        logprobs: int,
        structured_outputs: StructuredOutputsParams | None = None,
    ) -> None:
        assert detokenize or not stop, "vLLM looks for stop strings in text"
        assert ignore_eos and logprobs == 0
        self.temperature, self.max_tokens, self.seed, self.stop, self.stop_token_ids = temperature, max_tokens, seed, stop, stop_token_ids
        asked = structured_outputs.given if structured_outputs else None
        self.given = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "max_tokens": max_tokens, "seed": seed, "asked": asked}
