"""Tiny sequence classifiers with random weights, and what a plain forward pass of one row says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine import models
from generate_tiny import CPU, tokenizer

CHAT = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"


def save(path: Path, labels: int = 1, seed: int = 0, kind: str = "llama", template: str | None = None, **config: Any) -> Path:
    """A classifier at `path`: llama without dropout and without a padding token, or bert with both."""
    import torch
    import transformers as hf

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    words = tokenizer(template)
    common = {"vocab_size": len(words), "num_labels": labels, "initializer_range": 0.5, "hidden_size": 16, "num_hidden_layers": 2}
    common |= {"num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 256}
    if kind == "bert":
        model: Any = hf.BertForSequenceClassification(hf.BertConfig(**common | {"pad_token_id": 1} | config))
    else:
        common |= {"pad_token_id": None, "eos_token_id": 0, "bos_token_id": None}
        model = hf.LlamaForSequenceClassification(hf.LlamaConfig(**common | config))
    model.save_pretrained(path)
    words.save_pretrained(path)
    return path


def plain(path: Path, text: str) -> list[float]:
    """The head's numbers for a text, by transformers alone."""
    import torch

    model, words = models.load(path, CPU, kind="SequenceClassification")
    with torch.no_grad():
        return model(torch.tensor([words(text)["input_ids"]])).logits[0].double().tolist()
