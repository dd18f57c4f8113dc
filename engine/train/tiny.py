"""A small language model from nothing: a tokenizer that is fitted to the worked examples, and a Llama with random weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.disk import writing
from engine.errors import SpecError
from engine.spec import TinyModel
from engine.train.settings import torch_seed

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = SPECIAL = "<pad>", "</s>", "<unk>"
DIGITS = "0123456789"
Merge = tuple[str, str]


def build(texts: Sequence[str], how: TinyModel, *, seed: int, folder: Path) -> int:
    """Saves an untrained model and its tokenizer in `folder`; returns its number of parameters. SpecError where the sizes do not fit."""
    tokens = tokenizer(texts, how)
    model = untrained(tokens, how, seed)
    with writing("the untrained model", folder):
        model.save_pretrained(folder)
        tokens.save_pretrained(folder)
    return model.num_parameters()


def check(how: TinyModel) -> None:
    """SpecError for sizes or pieces that cannot work, whatever the data."""
    _pieces(how.pieces)
    if how.hidden_size % (2 * how.heads):
        raise SpecError(
            f"base.model: hidden_size {how.hidden_size} is not a multiple of 2 * heads ({how.heads})",
            hint="a head's width must be whole and even for rotary positions",
        )


def tokenizer(texts: Sequence[str], how: TinyModel) -> PreTrainedTokenizerFast:
    """A BPE tokenizer that merges within the pieces of `how.pieces`; the same for the same texts in any order.

    The numbers 0-99 are single tokens where the pieces keep them whole, also those that no text has. There is no BOS;
    a character that no text has becomes <unk>. SpecError for a pattern that is not valid or a vocabulary too small.
    """
    from tokenizers import Tokenizer, decoders
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    split = _pieces(how.pieces)
    fitted = Tokenizer(BPE(unk_token=UNKNOWN))
    fitted.pre_tokenizer = split
    trainer = BpeTrainer(vocab_size=how.vocabulary, special_tokens=list(SPECIAL), initial_alphabet=list(DIGITS), show_progress=False)
    fitted.train_from_iterator(sorted(texts), trainer)
    learned = [tuple(merge) for merge in json.loads(fitted.to_str())["model"]["merges"]]
    numbers = [(a, b) for a in DIGITS[1:] for b in DIGITS if len(split.pre_tokenize_str(a + b)) == 1]
    # a newline stands between the messages of a prompt, also where no text has one
    alphabet = sorted({character for text in texts for character in text} | set(DIGITS) | {"\n"})
    vocabulary, merges = _vocabulary(alphabet, numbers, learned, how.vocabulary)
    fast = Tokenizer(BPE(vocab=vocabulary, merges=merges, unk_token=UNKNOWN))
    fast.pre_tokenizer, fast.decoder = split, decoders.Fuse()
    fast.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=how.positions,
        clean_up_tokenization_spaces=False,
    )


def _pieces(pattern: str) -> PreTokenizer:
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split

    try:
        return Split(Regex(pattern), behavior="isolated")
    except Exception as error:  # the library raises Exception itself
        raise SpecError(f"base.model.pieces: {error}", hint=f"found {pattern!r}; the syntax is Oniguruma's") from error


def _vocabulary(alphabet: list[str], numbers: list[Merge], learned: list[Merge], size: int) -> tuple[dict[str, int], list[Merge]]:
    """Token ids and merges: numbers first, so that they hold whatever the data's frequencies, then the learned ones that fit."""
    tokens = dict.fromkeys([*SPECIAL, *alphabet, *(a + b for a, b in numbers)])
    if len(tokens) > size:
        raise SpecError(
            f"base.model.vocabulary: {size} entries do not hold the {len(alphabet)} characters of the data and the numbers 0-99",
            hint=f"at least {len(tokens)}",
        )
    merges = list(numbers)
    for a, b in learned:
        if (a, b) in numbers:
            continue
        if len(tokens) == size and a + b not in tokens:
            break
        tokens[a + b] = None
        merges.append((a, b))
    return {token: i for i, token in enumerate(tokens)}, merges


def untrained(tokens: PreTrainedTokenizerFast, how: TinyModel, seed: int) -> LlamaForCausalLM:
    """A Llama of the spec's sizes with tied embeddings and weights drawn from `seed` alone (float32)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    check(how)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=how.hidden_size,
        num_hidden_layers=how.layers,
        num_attention_heads=how.heads,
        num_key_value_heads=how.heads,
        intermediate_size=how.ffn,
        max_position_embeddings=how.positions,
        rope_parameters={"rope_type": "default", "rope_theta": how.rope_theta},
        initializer_range=how.init_std,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, -1, "tiny"))
        return LlamaForCausalLM(config)
