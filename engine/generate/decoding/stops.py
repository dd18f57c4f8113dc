"""Stop strings: an answer ends where one of them appears, and is cut off there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

MARGIN = 8  # tokens more than a stop string has characters that are looked at: some tokens hold less than one


class Stops:
    """The stop strings of one step. Text is decoded only after tokens that could complete one of them."""

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> None:
        self.texts, self._tokenizer = tuple(texts), tokenizer
        self._window = max(map(len, texts)) + MARGIN
        lasts = {text[-1] for text in texts}
        pieces = tokenizer.batch_decode([[token] for token in range(vocabulary)], clean_up_tokenization_spaces=False)
        # A lone token may lose its blanks or be half a character: then it counts as one that could end a stop string.
        blank = any(last.isspace() for last in lasts)
        self._ends = np.array([blank or "\ufffd" in piece or not lasts.isdisjoint(piece) for piece in pieces])

    def may_end(self, tokens: np.ndarray) -> np.ndarray:
        """For each token whether it could complete a stop string."""
        return self._ends[tokens]

    def found(self, tokens: np.ndarray) -> bool:
        """Whether the end of `tokens` holds a stop string."""
        tail = self._tokenizer.decode(tokens[-self._window :].tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return any(text in tail for text in self.texts)

    def cut(self, text: str) -> str:
        """`text` up to the first stop string."""
        ends = [at for stop in self.texts if (at := text.find(stop)) >= 0]
        return text[: min(ends)] if ends else text
