"""How a model with a head sees a prompt with its answer: the same text where it trains and where it scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine import models
from engine.errors import ModelError
from engine.score.choices import asked, filled
from engine.score.heads import Shown

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

NO_LIMIT = 1 << 20  # tokenizers write a huge number where they know no limit


class Showing:
    """A tokenizer, and the texts that its model reads."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, how: Shown) -> None:
        self.tokenizer, self.how = tokenizer, how
        self.chat = models.chats(tokenizer, False if how.template is not None else how.chat)

    def limit(self, config: PretrainedConfig) -> int:
        """The most tokens of a row: of the settings, the model's positions and the tokenizer the smallest."""
        limits = (getattr(config, "max_position_embeddings", None), self.tokenizer.model_max_length)
        return min(self.how.max_length, *(limit for limit in limits if limit and 0 < limit <= NO_LIMIT), NO_LIMIT)

    def shown(self, messages: Sequence[dict[str, Any]], response: str) -> str:
        """A prompt with its answer as the model sees it. ModelError where its template refuses the messages."""
        if self.chat:
            return self.templated([*messages, {"role": "assistant", "content": response}])
        if self.how.template is not None:
            return filled(self.how.template, {"prompt": asked(messages), "response": response})
        return models.render(self.tokenizer, messages, False) + response

    def templated(self, messages: Sequence[dict[str, Any]]) -> str:
        """Messages by the model's chat template, nothing behind them."""
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template([{k: m[k] for k in ("role", "content")} for m in messages], tokenize=False)
        except TemplateError as error:
            raise ModelError(
                f"the chat template refuses these messages: {error}",
                where=str(self.tokenizer.name_or_path),
                hint=f"roles found: {', '.join(m['role'] for m in messages)}; chat: false shows them as text",
            ) from error

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids; special tokens are added only where no chat template has written them."""
        return self.tokenizer(list(texts), add_special_tokens=not self.chat)["input_ids"] if texts else []
