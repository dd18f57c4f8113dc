"""A small language model from nothing: a tokenizer that is fitted to the worked examples, and a Llama with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import SpecError
from engine.spec import TinyModel
from engine.train.settings import torch_seed

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "</s>", "<unk>"
NUMBERS = [str(n) for n in range(100)]


def tokenizer(texts: Sequence[str], how: TinyModel) -> PreTrainedTokenizerFast:
    """A BPE tokenizer that merges within the pieces of `how.pieces`; no BOS, the same for the same set of texts.

    The numbers 0-99 are single tokens wherever the pieces keep them whole. Characters that no text has become
    <unk>. SpecError for a pattern that is not valid or a vocabulary that does not hold the characters and numbers.
    """
    from tokenizers import Regex, Tokenizer, decoders
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import Split
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    try:
        split = Split(Regex(how.pieces), behavior="isolated")
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise SpecError(f"base.model.pieces: {error}", hint=f"found {how.pieces!r}") from error
    fast = Tokenizer(BPE(unk_token=UNKNOWN))
    fast.pre_tokenizer, fast.decoder = split, decoders.Fuse()
    whole = [n for n in NUMBERS if len(split.pre_tokenize_str(n)) == 1]
    trainer = BpeTrainer(
        vocab_size=how.vocabulary, special_tokens=[PAD, EOS, UNKNOWN], initial_alphabet=list("0123456789"), show_progress=False
    )
    # Merges go by frequency: numbers that stand more often than any text come first, however rare they are in the data.
    often = 1 + sum(map(len, texts))
    fast.train_from_iterator(_Corpus(texts, whole, often), trainer)
    missing = [n for n in whole if fast.token_to_id(n) is None]
    if missing or fast.get_vocab_size() > how.vocabulary:
        raise SpecError(f"base.model.vocabulary: {how.vocabulary} entries do not hold the characters and the numbers 0-99 of the data",
                        hint=f"at least {len(set(''.join(texts)) | set('0123456789')) + 3 + 90}")
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token=PAD, eos_token=EOS, unk_token=UNKNOWN, model_max_length=how.positions,
        clean_up_tokenization_spaces=False,
    )
