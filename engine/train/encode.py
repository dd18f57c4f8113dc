"""Rows of `selected` as token ids with a weight a token: what the model sees, and what it learns.

A trained answer follows exactly the text that generation shows the model (`engine.models.render`), is tokenised apart
from it as sampled tokens are, and ends with an end token, so that training and sampling see the same sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from engine import models
from engine.errors import StepError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASSISTANT = "assistant"


@dataclass(frozen=True)
class Example:
    """A row ready to train: token ids (int64) and the weight of each as a target (float64, 0 is context); shape (tokens,)."""

    row_id: str
    ids: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class _Piece:
    """A stretch of text of one row. `end` marks the text after an answer: it trains up to its end token, or an EOS does."""

    text: str
    weight: float
    first: bool = False
    end: bool = False


class Encoder:
    """Turns rows into examples for one tokenizer. `ends` are the tokens that end generation (EOS among them)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, mask: str, chat: bool | None, ends: Sequence[int], limit: int) -> None:
        if tokenizer.eos_token_id is None:
            raise StepError(
                "the tokenizer has no EOS token, so no answer could end",
                where=str(tokenizer.name_or_path),
                hint="set eos_token in tokenizer_config.json",
            )
        self.tokenizer, self.mask, self.chat, self.limit = tokenizer, mask, chat, limit
        self._template = models.chats(tokenizer, chat)
        self._ends = {tokenizer.eos_token_id, *ends}

    def encode(self, rows: pa.Table, cut: bool = False) -> list[Example]:
        """One example for each row of `selected`, in order. StepError, naming the row_id, for a row that cannot train.

        `cut`: of a row that is too long the end is left out, for rows that only estimate something."""
        table = rows.select(["row_id", "messages", "weight"]).to_pylist()
        pieces = [self._pieces(row) for row in table]
        flat = [piece for row in pieces for piece in row]
        ids = self._tokens(flat)
        examples = [self._example(row["row_id"], [(piece, next(ids)) for piece in own]) for row, own in zip(table, pieces, strict=True)]
        if cut:
            examples = [Example(e.row_id, e.ids[: self.limit], e.weights[: self.limit]) for e in examples]
        long = [example for example in examples if len(example.ids) > self.limit]
        if long:
            worst = max(long, key=lambda example: len(example.ids))
            raise StepError(
                f"row {long[0].row_id} has {len(long[0].ids)} tokens, allowed are {self.limit} "
                f"({len(long)} of {len(examples)} rows are too long, the longest has {len(worst.ids)})",
                hint="raise train.max_length (at most the model's positions), or leave such rows out in the selection",
            )
        return examples

    def _tokens(self, pieces: list[_Piece]) -> Iterator[list[int]]:
        """Token ids of every piece; only the first piece of a row gets special tokens (BOS), as in generation."""
        first = iter(models.encode(self.tokenizer, [p.text for p in pieces if p.first], self.chat))
        other_texts = [p.text for p in pieces if not p.first]
        other = iter(self.tokenizer(other_texts, add_special_tokens=False)["input_ids"] if other_texts else [])
        return (next(first) if piece.first else next(other) for piece in pieces)

    def _example(self, row_id: str, pieces: list[tuple[_Piece, list[int]]]) -> Example:
        ids: list[int] = []
        weights: list[float] = []
        for piece, tokens in pieces:
            if piece.end:
                stop = next((i + 1 for i, token in enumerate(tokens) if token in self._ends), 0)
                if not stop:
                    tokens, stop = [self.tokenizer.eos_token_id, *tokens], 1
                own = [piece.weight] * stop + [0.0] * (len(tokens) - stop)
            else:
                own = [piece.weight] * len(tokens)
            ids += tokens
            weights += own
        last = max((i for i, weight in enumerate(weights) if weight), default=0)  # what follows the last target teaches nothing
        if not last:  # the first token follows nothing, so it is never a target
            raise StepError(
                f"row {row_id} has no token that trains", hint="put a prompt before the answer, or leave the row out in the selection"
            )
        return Example(row_id, np.array(ids[: last + 1], dtype=np.int64), np.array(weights[: last + 1]))

    def _weights(self, row: dict[str, Any]) -> list[float]:
        """The weight of each message of a row under the mask, times the row's own."""
        messages, name = row["messages"], f"row {row['row_id']}"
        answers = [i for i, message in enumerate(messages) if message["role"] == ASSISTANT]
        if self.mask == "message":
            weights = [message["weight"] for message in messages]
        else:
            chosen = answers if self.mask == "assistant" else answers[-1:]
            weights = [1.0 if i in chosen else 0.0 for i in range(len(messages))]
        for weight in (row["weight"], *weights):
            if weight is None or not 0 <= weight < float("inf"):
                raise StepError(
                    f"{name}: expected weights that are finite and not negative, found {weight}", hint="correct it in the selection"
                )
        if any(weights[i] and weights[i - 1] for i in answers if i - 1 in answers):
            raise StepError(
                f"{name}: two answers stand next to each other and both train, so the first would end where the second goes on from it",
                hint="set train.mask: last where the first is a given beginning, or join them in the selection",
            )
        weights = [weight * row["weight"] for weight in weights]
        # an empty answer still trains its end token: the policy may have given it, and selection chose it
        teaches = (message["content"] or message["role"] == ASSISTANT for message in messages)
        if not any(weight and teach for weight, teach in zip(weights, teaches, strict=True)):
            roles = ", ".join(message["role"] for message in messages)
            raise StepError(
                f"{name} has nothing that trains (mask {self.mask}, row weight {row['weight']}, messages: {roles})",
                hint="leave such rows out in the selection, or choose another train.mask",
            )
        return weights

    def _pieces(self, row: dict[str, Any]) -> list[_Piece]:
        messages = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
        pieces: list[_Piece] = []
        done = ""  # the text up to here as the next prompt will show it
        start = 0
        for i, weight in enumerate(self._weights(row)):
            if not weight:
                continue
            shown, tail = self._around(row["row_id"], messages, i) if self._template else (self._joined(done, messages, start, i), "")
            if not shown.startswith(done):
                raise StepError(
                    f"row {row['row_id']}: the chat template shows earlier messages otherwise once message {i} follows",
                    hint="train.mask: last trains only the last answer",
                )
            pieces.append(_Piece(shown[len(done) :], 0.0, first=not pieces))
            pieces.append(_Piece(messages[i]["content"], weight))
            done = shown + messages[i]["content"] + tail
            if messages[i]["role"] == ASSISTANT:
                pieces.append(_Piece(tail, weight, end=True))
            elif tail:
                pieces.append(_Piece(tail, 0.0))
            start = i + 1
        return pieces

    def _joined(self, done: str, messages: list[dict[str, str]], start: int, i: int) -> str:
        """Without a template: the contents joined by newlines, the answer right after them."""
        said = messages[start:i]
        between = models.render(self.tokenizer, said, False) if messages[i]["role"] == ASSISTANT else "\n".join(m["content"] for m in said)
        return f"{done}\n{between}" if done else between

    def _around(self, row_id: str, messages: list[dict[str, str]], i: int) -> tuple[str, str]:
        """The template's text before and after the content of message `i`; works for templates without generation marks."""
        shown, content = messages[: i + 1], messages[i]["content"].strip()
        if models.begun(messages[:i]) and messages[i]["role"] == ASSISTANT:  # one answer, of which this message is the end
            shown = [*messages[: i - 1], {"role": ASSISTANT, "content": messages[i - 1]["content"] + messages[i]["content"]}]
        whole = self.tokenizer.apply_chat_template(shown, tokenize=False)
        at = whole.rfind(content)
        if at < 0:
            raise StepError(
                f"row {row_id}: the chat template does not show message {i} ({messages[i]['role']}) as it is: {content[:80]!r}",
                hint="set generate.chat to false, or use a template that keeps answers whole",
            )
        before = models.render(self.tokenizer, messages[:i], True) if messages[i]["role"] == ASSISTANT else whole[:at]
        return before, whole[at + len(content) :]
