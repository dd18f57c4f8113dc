"""Merges models tensor by tensor from safetensors to safetensors: in memory is one tensor of every model, and one file of the result."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.disk import writing
from engine.errors import ModelError, StepError
from engine.merge import Function, Job, Named, folders
from engine.modelfiles import CONFIG

if TYPE_CHECKING:
    from torch import Tensor

    from engine.merge.folders import Weights

FILE = 1 << 30  # bytes of one file of the result
BLOCK = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|block)\.(\d+)\.")


def merge(job: Job, function: Function, members: Sequence[str], weights: Sequence[float], out: Path, most: int = FILE) -> int:
    """Writes what `function` makes of the models called `members` to `out`, with config and tokenizer of the first; the number of
    tensors. `weights`: one for each member; `most`: bytes of one file.

    ModelError, naming file and tensor, where the models do not fit each other; StepError for a tensor that is not finite.
    """
    import torch

    dtype = getattr(torch, job.dtype)
    found = [job.members[name] for name in members]
    with folders.opened([*found, *([job.base] if job.base else [])]) as opened, writing("the merged model", out):
        models, base = opened[: len(found)], opened[len(found)] if job.base else None
        names = models[0].names
        blocks = len({block for name in names if (block := _block(name)) is not None})
        files = _files(models[0], dtype.itemsize, most)
        job.ctx.progress.begin(job.label, len(names), unit="tensors")
        for i, file in enumerate(files):
            tensors = {}
            for name in file:
                tensors[name] = _one(job, function, name, models, base, weights, members, blocks, dtype)
                job.ctx.progress.advance(1)
            _save(tensors, out / _name(i, len(files)))
        job.ctx.progress.end()
        _finish(out, files, found[0].path, job.dtype)
    return len(names)


def _one(
    job: Job,
    function: Function,
    name: str,
    models: Sequence[Weights],
    base: Weights | None,
    weights: Sequence[float],
    members: Sequence[str],
    blocks: int,
    dtype: Any,
) -> Tensor:
    import torch

    if not models[0].is_float(name):
        return _equal(name, models)
    own = [model.tensor(name).float() for model in models]
    named = Named(
        name=name,
        members=own,
        weights=weights,
        base=base.tensor(name).float() if base else None,
        block=_block(name),
        blocks=blocks,
        models=members,
        stream=job.stream,
    )
    with torch.no_grad():
        made = function(named).to(dtype).contiguous()
    if made.shape != own[0].shape:
        raise StepError(f"merge of {name}: expected the shape {list(own[0].shape)}, found {list(made.shape)}")
    if not torch.isfinite(made).all():
        raise StepError(f"the merged weights of {name} are not finite in {job.dtype}", hint="lower the weights or the scale of this merge")
    return made


def _equal(name: str, models: Sequence[Weights]) -> Tensor:
    """A tensor of counters or indices, which nothing can average."""
    first = models[0].tensor(name)
    for model in models[1:]:
        if not first.equal(model.tensor(name)):
            raise ModelError(
                f"tensor {name} holds no weights, and differs between {models[0].of.name} and {model.of.name}",
                where=f"{models[0].of.path} and {model.of.path}",
                hint="only models of one base can be merged",
            )
    return first


def _block(name: str) -> int | None:
    """The number of the decoder block that a tensor belongs to."""
    found = BLOCK.search(name)
    return int(found[1]) if found else None


def _files(weights: Weights, size: int, most: int) -> list[list[str]]:
    """The tensors of each file of the result, in order; a file holds at most `most` bytes, or one tensor that is larger."""
    files: list[list[str]] = [[]]
    room = most
    for name in weights.names:
        count = size
        for side in weights.shape(name):
            count *= side
        if files[-1] and count > room:
            files.append([])
            room = most
        files[-1].append(name)
        room -= count
    return files


def _name(number: int, of: int) -> str:
    return "model.safetensors" if of == 1 else f"model-{number + 1:05d}-of-{of:05d}.safetensors"


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})


def _finish(out: Path, files: Sequence[Sequence[str]], first: Path, dtype: str) -> None:
    """The index of several files, and everything of the first model that is no weight; its config says the new dtype."""
    if len(files) > 1:
        of = {name: _name(i, len(files)) for i, file in enumerate(files) for name in file}
        total = sum((out / _name(i, len(files))).stat().st_size for i in range(len(files)))
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(of.items()))}
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    for file in folders.companions(first):
        target = out / file.relative_to(first)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    config = json.loads((out / CONFIG).read_text(encoding="utf-8"))
    if config.get("dtype", dtype) != dtype:
        (out / CONFIG).write_text(json.dumps(config | {"dtype": dtype}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
