"""How many answers fit in memory together, and when it is full."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

SHARE = {"cuda": 0.8, "cpu": 0.5}  # of the free memory: a process never has all of it to itself
MOST = {"cuda": 4096, "cpu": 512}  # more answers at once make no model faster (on a CPU: measured up to 1024)
COPIES = 2.5  # a cache has half its size to spare, and is copied whole while it grows
FULL = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory")  # how allocators say it


def is_full(error: BaseException) -> bool:
    """Whether an error says that memory was not enough."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in FULL)


def release(device: torch.device) -> None:
    """Gives unused memory of an accelerator back to its allocator."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def free(device: torch.device) -> int:
    """Bytes of free memory where a model lies."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    import psutil

    return psutil.virtual_memory().available


def answer_bytes(model: PreTrainedModel, prompt: int, answer: int) -> int:
    """Bytes that one running answer takes at its longest: keys and values of `prompt` + `answer` tokens in every layer, one
    layer's activations over the prompt, and its logits (with the sampler's copies of them in double precision)."""
    config, size = model.config.get_text_config(), model.dtype.itemsize
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cache = 2 * config.num_hidden_layers * heads * width * size * (prompt + answer)
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    activations = prompt * (8 * config.hidden_size + 4 * inner) * size
    logits = config.vocab_size * (2 * size + 4 * 8)
    return int(COPIES * cache) + activations + logits


def fitting(model: PreTrainedModel, prompt: int, answer: int) -> int:
    """How many answers of at most `answer` tokens to prompts of at most `prompt` tokens run together: as many as the free memory
    holds, a multiple of 8 where there are so many, and no more than make sense."""
    kind = model.device.type if model.device.type in SHARE else "cpu"
    count = int(free(model.device) * SHARE[kind]) // answer_bytes(model, prompt, answer)
    count = min(MOST[kind], count)
    return max(1, count // 8 * 8 if count >= 8 else count)
