"""Tiny real models and a small context for the tests of generation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import models, tables
from engine.home import Home
from engine.ids import prompt_id
from engine.lake import Lake
from engine.spec import Spec
from engine.step import Device, Model, Ref, Silent
from engine.warm import Warm

CPU = Device("cpu", 1, "float32")
LETTERS = "abcdefghijklmnopqrstuvwxyz ABC0123456789+-=.?:\n"


def tokenizer(template: str | None = None):
    """One token a character; token 0 ends a text."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {"<eos>": 0, "<unk>": 1} | {letter: 2 + i for i, letter in enumerate(LETTERS)}
    inner = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", unk_token="<unk>")
    made.chat_template = template
    return made


def save(path: Path, kind: str = "llama", seed: int = 0, template: str | None = None, **config: Any) -> Path:
    """A model with random weights at `path`: llama, gpt2 or mistral (with a sliding window of 8)."""
    import torch
    import transformers as hf

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    words = tokenizer(template)
    common = {"vocab_size": len(words), "eos_token_id": 0, "bos_token_id": None, "pad_token_id": None, "initializer_range": 0.25}
    wide = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 128}
    if kind == "gpt2":
        model = hf.GPT2LMHeadModel(hf.GPT2Config(**common | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128} | config))
    elif kind == "mistral":
        model = hf.MistralForCausalLM(hf.MistralConfig(**common | wide | {"num_key_value_heads": 2, "sliding_window": 8} | config))
    else:
        model = hf.LlamaForCausalLM(hf.LlamaConfig(**common | wide | {"tie_word_embeddings": True} | config))
    model.save_pretrained(path)
    words.save_pretrained(path)
    return path


def spec(**parts: Any) -> Spec:
    """A small valid spec."""
    base = {
        "experiment": "tiny",
        "models": {"policy": "model"},
        "prompts": {"train": "t.jsonl", "gate": "g.jsonl", "test": "e.jsonl"},
        "select": {"sql": "raft.sql"},
        "train": [{"init": "previous", "reference": "none", "data": "round"}],
        "generate": {"samples": 3, "max_tokens": 12, "batch": 12},
        "evaluate": {"max_tokens": 12},
        "seed": 5,
    }
    return Spec.model_validate(base | parts)


def prompts(texts: list[str], split: str = "train", round_: int = 0) -> pa.Table:
    """Rows of `prompts` with partition columns, one user message each."""
    messages = [[{"role": "user", "content": text}] for text in texts]
    rows = pa.table(
        {
            "prompt_id": [prompt_id(m) for m in messages],
            "split": [split] * len(texts),
            "messages": pa.array(messages, tables.CHAT),
        }
    )
    rows = tables.check("prompts", rows)
    part = {"experiment": ["tiny"] * len(texts), "round": pa.array([round_] * len(texts), pa.int32()), "part": [split] * len(texts)}
    return pa.table(part | {name: rows[name] for name in rows.column_names})


def torn(journal: Path, kept: int) -> None:
    """Leaves the first `kept` answers of a journal and half of the next one."""
    file = journal / "answers.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) > kept, "there is nothing to tear off"
    file.write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])


class Notes(Silent):
    """A Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rows = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, rows: int) -> None:
        self.rows += rows


@dataclass
class Fake:
    """As much of engine.step.Context as the steps of this room use."""

    spec: Spec
    folder: Path
    parts: dict[Ref, pa.Table]
    model_path: Path | None = None
    round: int = 0
    device: Device = CPU
    progress: Notes = field(default_factory=Notes)
    warm: Warm | None = None

    @property
    def spec_path(self) -> Path:
        return self.folder / "spec.yaml"

    @property
    def home(self) -> Home:
        return Home(self.folder)

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def lake(self) -> Lake:
        """A real one, empty until a test fills it."""
        return Lake(str(self.folder / "lake"))

    def read(self, ref: Ref, columns: Any = None) -> pa.Table:
        return self.parts[ref]

    def model(self, which: str, role: str = "policy") -> Model:
        assert self.model_path is not None
        return Model(models.digest(self.model_path), self.model_path)
