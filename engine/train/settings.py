"""The trainer's settings from a spec: TRL's configuration. `engine.train.schedules` has the learning rate over steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import StepError
from engine.randomness import row_keys
from engine.spec import Optimizer
from engine.step import Device

OPTIMIZERS = {"adamw": "adamw_torch_fused", "rmsprop": "rmsprop", "sgd": "sgd", "adafactor": "adafactor"}  # transformers' names


def torch_seed(seed: int, round_: int, role: str) -> int:
    """The seed of torch's own draws (dropout, a new adapter's weights) in one training; 31 bits."""
    return int(row_keys(seed, round_, "checkpoint", [role])[0] >> 33)


def arguments(how: Optimizer, device: Device, *, seed: int, state: Path, peak: float = 1.0) -> dict[str, Any]:
    """Arguments of any TRL config, for data whose items are whole batches in the order of consumption. `peak`: a share of
    `learning_rate`, the peak of this round.

    StepError for a dtype that the device cannot train in.
    """
    gpu = device.device.startswith("cuda")
    if device.dtype == "float16" and not gpu:
        raise StepError("float16 training needs a GPU", where=f"device {device.device}", hint="compute.dtype: float32 or bfloat16")
    return {
        "output_dir": str(state),
        "seed": seed,
        "data_seed": seed,
        "use_cpu": not gpu,
        "bf16": device.dtype == "bfloat16",
        "fp16": device.dtype == "float16",
        "gradient_checkpointing": gpu if how.gradient_checkpointing == "auto" else how.gradient_checkpointing,
        # One item is one batch, so that a batch holds exactly the rows that the plan gives it.
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
        "learning_rate": how.learning_rate * peak,
        "weight_decay": how.weight_decay,
        "adam_beta1": how.betas[0],
        "adam_beta2": how.betas[1],
        "max_grad_norm": how.clip,
        "optim": OPTIMIZERS[how.optimizer],
        "average_tokens_across_devices": False,
        "save_strategy": "steps",
        "save_steps": how.save_every,
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
