"""What the model sees and where its answers end: the same for every backend that draws from a model of our own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import models
from engine.errors import DataError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


def token_ids(tokenizer: PreTrainedTokenizerBase, messages: list[list[dict[str, Any]]], chat: bool | None) -> list[list[int]]:
    """The token ids of each prompt, its chat template written out."""
    return models.encode(tokenizer, [models.render(tokenizer, message, chat) for message in messages], chat)


def room(prompt: str, ids: list[int], longest: int | None, most: int) -> int:
    """The most tokens that an answer to a prompt may have, of at most `most`, where the model takes `longest` with the prompt.

    DataError for a prompt without tokens, or one that leaves no room.
    """
    if not ids:
        raise DataError("a prompt without a single token", where=f"prompt {prompt}", hint="see its messages with `rondo sql`")
    if longest is not None and len(ids) >= longest:
        raise DataError(
            f"the prompt has {len(ids)} tokens and the model takes {longest}, answer included",
            where=f"prompt {prompt}",
            hint="shorten or drop the prompt, or take a model with a longer context",
        )
    return most if longest is None else min(most, longest - len(ids))


def ends(*given: int | list[int] | None) -> set[int]:
    """End tokens of the generation config, the model config and the tokenizer together."""
    return {int(token) for value in given if value is not None for token in (value if isinstance(value, list) else [value])}


def read_ends(path: Path, tokenizer: PreTrainedTokenizerBase, trust_remote_code: bool) -> tuple[set[int], int | None]:
    """(end tokens, the most tokens that the model takes), from the files of a model that is not loaded."""
    from transformers import AutoConfig, GenerationConfig

    config: PretrainedConfig = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
    text = config.get_text_config()
    own = path / "generation_config.json"
    how = GenerationConfig.from_pretrained(path, local_files_only=True) if own.is_file() else GenerationConfig.from_model_config(config)
    return ends(how.eos_token_id, text.eos_token_id, tokenizer.eos_token_id), getattr(text, "max_position_embeddings", None)
