"""Tiny adapters with random weights on tiny models, as PEFT saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def adapt(path: Path, base: Path, named: str | None = None, kind: str = "Lora", model: str = "CausalLM", **config: Any) -> Path:
    """An adapter at `path` for the model at `base`, which its config calls `named`; every weight of it is random, so that it
    changes what the model says."""
    import peft
    import torch
    import transformers

    config = {"task_type": "CAUSAL_LM", **({"r": 4, "lora_alpha": 8, "target_modules": "all-linear"} if kind == "Lora" else {}), **config}
    whole = getattr(transformers, f"AutoModelFor{model}").from_pretrained(base)
    wrapped = peft.get_peft_model(whole, getattr(peft, f"{kind}Config")(**config))
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in wrapped.parameters():
            if weight.requires_grad:
                weight.normal_(0.0, 0.2)
    wrapped.save_pretrained(path)
    change(path, base_model_name_or_path=str(base) if named is None else named)
    return path


def merged(path: Path, adapter: Path, base: Path) -> Path:
    """The whole model that the adapter makes of its base, merged by PEFT and saved with the base's tokenizer."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    whole = AutoModelForCausalLM.from_pretrained(base)
    PeftModel.from_pretrained(whole, str(adapter)).merge_and_unload().save_pretrained(path)
    AutoTokenizer.from_pretrained(base).save_pretrained(path)
    return path


def change(path: Path, **values: Any) -> None:
    """Sets values of an adapter's config."""
    file = path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
