"""The embedder `hidden_state`: the mean of the policy's last hidden states over a text's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from engine import models
from engine.cluster.embedders import Embedder, embedders
from engine.errors import DataError, ModelError
from engine.params import Params

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DECIMALS = 4  # what is left once the noise of padding and batch size is rounded off
BATCH = 16  # texts that go through the model together


class HiddenStateParams(Params):
    """Settings of `hidden_state`."""

    normalise: bool = Field(True, description="vectors of length 1")
    max_tokens: int | None = Field(None, gt=0, description="tokens of a text that are looked at, the first; none: all")
    trust_remote_code: bool = Field(False, description="let the model run code of its own repository")


@embedders.register("hidden_state")
class HiddenState(Embedder):
    """Texts are padded on the right, where a causal model cannot look, and end up rounded to 4 decimals.

    Tokens that frame a text (BOS, EOS, CLS, SEP) are seen by the model and left out of the mean; a text without a token has a
    vector of zeros.
    """

    revision = 1
    needs_model = True
    on_device = True
    batch = 128
    Params = HiddenStateParams

    @property
    def name(self) -> str:
        """The policy's digest; vectors of different policies are compared as those of one model that moves."""
        assert self.model is not None
        cut = "" if self.params.max_tokens is None else f"-{self.params.max_tokens}"
        return f"hidden_state{'' if self.params.normalise else '-raw'}{cut}@{self.model.digest}"

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        if self.model is None or self.device is None:
            raise ModelError("the embedder 'hidden_state' needs the policy, found no model", hint="use it where there is a policy")
        return models.load(self.model.path, self.device, self.params.trust_remote_code)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of the texts: float32, shape (texts, hidden size). DataError for a text longer than the model takes."""
        model, tokenizer = self._loaded
        config = model.config.get_text_config()
        tokens = [ids[: self.params.max_tokens] for ids in models.encode(tokenizer, list(texts), chat=False)]
        limit = getattr(config, "max_position_embeddings", None)
        longest = max(map(len, tokens), default=0)
        if limit is not None and longest > limit:
            hint = f"set params.max_tokens to {limit}: the first tokens then stand for the text"
            raise DataError(f"a text has {longest} tokens and the model takes {limit}", where="hidden_state", hint=hint)
        frame = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id}
        made = np.zeros((len(texts), config.hidden_size), dtype=np.float32)
        order = sorted((place for place, ids in enumerate(tokens) if ids), key=lambda place: (len(tokens[place]), place))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            made[places] = self._means(model, [tokens[place] for place in places], frame)
        return made

    def _means(self, model: PreTrainedModel, tokens: list[list[int]], frame: set[int | None]) -> np.ndarray:
        import torch

        width = max(map(len, tokens))
        ids = np.zeros((len(tokens), width), dtype=np.int64)
        real, counted = np.zeros_like(ids), np.zeros(ids.shape, dtype=bool)
        for row, one in enumerate(tokens):
            ids[row, : len(one)], real[row, : len(one)] = one, 1
            own = [token not in frame for token in one]
            counted[row, : len(one)] = own if any(own) else True
        with torch.inference_mode():
            given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(real)}
            found = model.base_model(**{name: value.to(model.device) for name, value in given.items()}, use_cache=False)
            states = found.last_hidden_state.to("cpu", torch.float64).numpy()
        means = np.where(counted[:, :, None], states, 0.0).sum(axis=1) / counted.sum(axis=1)[:, None]
        if self.params.normalise:
            means /= np.maximum(np.sqrt((means**2).sum(axis=1)), 1e-12)[:, None]
        return (np.round(means, DECIMALS) + 0.0).astype(np.float32)
