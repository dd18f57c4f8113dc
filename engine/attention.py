"""How a model computes attention: what `compute.attention` means for one model, and whether flash attention can work here.

`auto` leaves the choice to transformers (its `sdpa`, or `eager` where a model has no other); `auto:flash_attention_2` takes flash
attention (Dao, "FlashAttention-2", ICLR 2024, https://github.com/Dao-AILab/flash-attention) for the models that have it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ModelError

if TYPE_CHECKING:
    from engine.step import Device

AUTO, FLASH = "auto", "flash_attention_2"
AUTO_FLASH = f"{AUTO}:{FLASH}"
AMPERE = (8, 0)  # compute capability of the first GPUs that flash attention 2 runs on
HALVES = ("bfloat16", "float16")


def no_flash(device: str, dtype: str) -> str | None:
    """Why flash attention 2 cannot work; None where it can: its package, a GPU that it supports, and half precision."""
    if device == "cpu":
        return "it needs a GPU"
    if dtype not in HALVES:
        return f"it needs half precision, found compute.dtype {dtype}"
    import torch
    from transformers.utils import is_flash_attn_2_available

    if not is_flash_attn_2_available():
        return "the package flash-attn (2.3.3 or later) is not installed"
    found = torch.cuda.get_device_capability(device)
    return None if found >= AMPERE else f"it needs a GPU of compute capability 8.0 or more, found {found[0]}.{found[1]}"


def arguments(auto: Any, folder: Path, device: Device, trust_remote_code: bool) -> dict[str, Any]:
    """What `auto.from_pretrained` is told of attention. ModelError where the model lacks what the spec asks for."""
    if device.attention == AUTO:
        return {}
    wanted = device.attention.removeprefix(f"{AUTO}:")
    why = _refusal(auto, folder, wanted, device.dtype, trust_remote_code)
    if why is None:
        return {"attn_implementation": wanted}
    if device.attention == AUTO_FLASH:
        return {}
    raise ModelError(
        f"the model has no attention {wanted!r}: {why}", where=str(folder), hint="compute.attention: auto takes what the model has"
    )


def _refusal(auto: Any, folder: Path, wanted: str, dtype: str, trust_remote_code: bool) -> str | None:
    """What transformers says against `wanted` for this model, which is built without weights; None where it takes it.

    A folder that cannot even be built says nothing here: loading it says why.
    """
    import torch
    from transformers import AutoConfig

    def build(**more: str) -> str | None:
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
            with torch.device("meta"):
                auto.from_config(config, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code, **more)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
            return str(error)
        return None

    why = build(attn_implementation=wanted)
    return why if why is not None and build() is None else None
