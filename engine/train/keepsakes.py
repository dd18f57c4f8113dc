"""What lies beside the weights of a checkpoint for later rounds: the optimizer's moments, and a trunk (the weights before a decay).

Neither enters the model's digest; each is named by a digest of its own, which `settings` of the checkpoints row holds. They go with
the checkpoint's folder.
"""

from __future__ import annotations

import json
import shutil
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.disk import writing
from engine.errors import ModelError, StepError

if TYPE_CHECKING:
    from torch.optim import Optimizer

MOMENTS, TRUNK = KINDS = ("moments", "trunk")
BLOCK = 1 << 20
NUMBERS = "numbers"
EXACT = ("exp_avg", "exp_avg_sq", "square_avg", "momentum_buffer")  # state of the shape of its parameter


def find(folder: Path, kind: str, digest: str) -> Path:
    """Where a checkpoint's keepsake lies. ModelError where it is gone."""
    path = folder / f"{kind}-{digest}"
    if not path.exists():
        raise ModelError(
            f"the checkpoint's {kind} have vanished" if kind == "moments" else f"the checkpoint's {kind} has vanished",
            where=str(path),
            hint="restore it, or run the round that trained it again with --from",
        )
    return path


def keep(path: Path, folder: Path, kind: str, digest: str) -> str:
    """Copies a finished keepsake to its place in a checkpoint's folder and returns its digest. The trainer's own stays: a process
    that is killed before the checkpoint is published does not train again. A trunk is a model folder; its moments stand apart."""
    target = folder / f"{kind}-{digest}"
    with writing(f"the checkpoint's {kind}", folder):
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns(MOMENTS), dirs_exist_ok=True)
        else:
            shutil.copyfile(path, target)
    return digest


def of(folder: Path) -> list[Path]:
    """Every keepsake in a checkpoint's folder."""
    return sorted(path for kind in KINDS for path in folder.glob(f"{kind}-*"))


def file_digest(path: Path) -> str:
    """16 hex digits over a file's bytes."""
    state = blake2b(digest_size=8)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            state.update(block)
    return state.hexdigest()


def save_moments(model: Any, optimizer: Optimizer, file: Path) -> None:
    """Writes the optimizer's state of every parameter of `model` by its name (safetensors; plain numbers as JSON in its metadata)."""
    import torch
    from safetensors.torch import save

    tensors: dict[str, Any] = {}
    numbers: dict[str, Any] = {"kind": kind(optimizer)}
    for name, weight in model.named_parameters():
        for key, value in optimizer.state.get(weight, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{name}/{key}"] = value.detach().cpu().contiguous()
            elif value is not None:
                numbers[f"{name}/{key}"] = value
    with writing("the optimizer's state", file):
        file.write_bytes(save(tensors, {NUMBERS: json.dumps(numbers, sort_keys=True)}))


def load_moments(model: Any, optimizer: Optimizer, file: Path) -> None:
    """Puts what `save_moments` wrote into a new optimizer over the same parameters. StepError where optimizer or parameters differ."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as stream:
        numbers = json.loads(stream.metadata()[NUMBERS])
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - no mapping
    if (found := numbers.pop("kind")) != kind(optimizer):
        raise _differs(f"they are of {found}, and this round trains with {kind(optimizer)}", file)
    own = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    states: dict[str, dict[str, Any]] = {}
    for entry, value in {**tensors, **numbers}.items():
        name, _, key = entry.rpartition("/")
        states.setdefault(name, {})[key] = value
    if states and (names := sorted(states.keys() ^ own.keys())):
        raise _differs(f"parameters differ, such as {names[0]} ({len(names)} of {len(own)})", file)
    for name, state in states.items():
        exact = [state[key] for key in EXACT if key in state]
        if any(value.shape != own[name].shape for value in exact):
            raise _differs(f"parameter {name} has another shape", file)
    whole = optimizer.state_dict()  # which loads with every value on the device that its parameter wants
    order = {id(weight): name for name, weight in own.items()}
    for group, numbered in zip(optimizer.param_groups, whole["param_groups"], strict=True):
        for weight, number in zip(group["params"], numbered["params"], strict=True):
            if order[id(weight)] in states:
                whole["state"][number] = states[order[id(weight)]]
    optimizer.load_state_dict(whole)


def kind(optimizer: Optimizer) -> str:
    """The optimizer's name, as its class has it; that of the one inside where accelerate wraps it."""
    return type(getattr(optimizer, "optimizer", optimizer)).__name__


def _differs(why: str, file: Path) -> StepError:
    return StepError(
        f"optimizer_state: carried: the moments do not fit this training: {why}",
        where=str(file),
        hint="set optimizer_state: fresh for this round, or train with the settings of the round before",
    )
