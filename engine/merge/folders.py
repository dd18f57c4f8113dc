"""Whole models on disk, opened to be merged: tensors by name without loading the model, and whether two models fit each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import adapters, modelfiles, models
from engine.errors import ModelError
from engine.modelfiles import ADAPTER_CONFIG, CONFIG, WEIGHTS
from engine.step import Device

if TYPE_CHECKING:
    from torch import Tensor

# Keys of config.json that say nothing of what the weights mean.
FREE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "pad_token_id", "bos_token_id", "eos_token_id")
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Whole:
    """A whole model's folder. `digest`: of the checkpoint that it is or that it was made of."""

    name: str
    path: Path
    digest: str


def whole(name: str, path: Path, digest: str, scratch: Path, trust_remote_code: bool = False) -> Whole:
    """The model itself; an adapter is merged into its base first, in float32, and saved below `scratch`: averages of the factors of
    two updates are not the factors of their average."""
    if not adapters.is_adapter(path):
        return Whole(name, path, digest)
    import gc

    cpu = Device("cpu", 1, "float32")
    model, tokenizer = models.load(path, cpu, trust_remote_code, train=True)
    folder = scratch / digest
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del model
    gc.collect()
    return Whole(name, folder, digest)


class Weights:
    """The tensors of one folder by name, read one at a time. Tied copies of a tensor are left out (see `tied`)."""

    def __init__(self, of: Whole, stack: ExitStack) -> None:
        from safetensors import SafetensorError, safe_open

        self.of, self._file = of, dict[str, Any]()
        for file in sorted(of.path.glob(WEIGHTS)):
            try:
                opened = stack.enter_context(safe_open(file, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise ModelError(f"cannot read the weights: {error}", where=str(file), hint="restore the file") from error
            self._file |= dict.fromkeys(opened.keys(), opened)
        for name in tied(of.path):
            self._file.pop(name, None)

    @property
    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        return sorted(self._file)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the file's header."""
        return tuple(self._file[name].get_slice(name).get_shape())

    def is_float(self, name: str) -> bool:
        """Whether a tensor holds weights, and no counters or indices."""
        return self._file[name].get_slice(name).get_dtype() in FLOATS

    def tensor(self, name: str) -> Tensor:
        """The tensor as it is stored."""
        return self._file[name].get_tensor(name)


@contextmanager
def opened(found: Sequence[Whole]) -> Iterator[list[Weights]]:
    """The models' files, open to be read; closed at the end."""
    with ExitStack() as stack:
        yield [Weights(one, stack) for one in found]


def tied(path: Path) -> list[str]:
    """Names of tensors that the model keeps as one with another (the output head and the input embeddings): merged once, written
    once. Empty where the config ties nothing."""
    config = _config(path)
    if not {**config.get("text_config", {}), **config}.get("tie_word_embeddings", False):
        return []
    import transformers

    found: list[str] = []
    for name in config.get("architectures") or []:
        known = getattr(getattr(transformers, name, None), "_tied_weights_keys", None) or {}
        found += list(known)
    return sorted(set(found))


def check(found: Sequence[Whole], same_config: bool = True) -> None:
    """ModelError, naming file and tensor, where models cannot be merged: other tensors, shapes, tokenizers or configs."""
    first, *others = found
    for one in found:
        if how := modelfiles.quantised(one.path):
            raise ModelError(f"the weights are quantised ({how}), and such weights are not merged", where=str(one.path))
    with opened(found) as weights:
        for own in weights[1:]:
            _same_tensors(weights[0], own)
    for other in others:
        _same_tokenizer(first, other)
        if same_config:
            _same_config(first, other)


def _same_tensors(first: Weights, other: Weights) -> None:
    if lost := sorted(set(first.names) ^ set(other.names)):
        has, lacks = (first, other) if lost[0] in first.names else (other, first)
        raise ModelError(
            f"the model {lacks.of.name} has no tensor {lost[0]}, and {has.of.name} has ({len(lost)} such tensors)",
            where=f"{lacks.of.path} and {has.of.path}",
            hint="only models of one architecture can be merged, best those trained from one base",
        )
    for name in first.names:
        one, two = first.shape(name), other.shape(name)
        if one != two:
            raise ModelError(
                f"tensor {name}: {first.of.name} has the shape {list(one)}, {other.of.name} has {list(two)}",
                where=f"{first.of.path} and {other.of.path}",
                hint="only models of one size and one vocabulary can be merged",
            )


def _same_tokenizer(first: Whole, other: Whole) -> None:
    one, two = _vocabulary(first.path), _vocabulary(other.path)
    if lost := [key for key in sorted({*one, *two}) if one.get(key) != two.get(key)]:
        raise ModelError(
            f"the models {first.name} and {other.name} have different tokenizers: {lost[0]} differs",
            where=f"{first.path} and {other.path}",
            hint="a token must mean the same in every model that is merged",
        )


def _vocabulary(path: Path) -> dict[str, Any]:
    """What says which token has which number; of tokenizer.json only that, since padding and truncation are settings of a run."""
    file = path / "tokenizer.json"
    if file.is_file():
        text = json.loads(file.read_text(encoding="utf-8"))
        model = text.get("model", {})
        return {f"tokenizer.json: model.{key}": model.get(key) for key in ("type", "vocab", "merges")} | {
            "tokenizer.json: added_tokens": text.get("added_tokens")
        }
    return {
        name: (path / name).read_bytes() for name in ("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model") if (path / name).is_file()
    }


def _same_config(first: Whole, other: Whole) -> None:
    one, two = _config(first.path), _config(other.path)
    if lost := [key for key in sorted({*one, *two} - set(FREE)) if one.get(key) != two.get(key)]:
        raise ModelError(
            f"the models {first.name} and {other.name} have different configs: {lost[0]} is {one.get(lost[0])!r} and {two.get(lost[0])!r}",
            where=f"{first.path / CONFIG} and {other.path / CONFIG}",
            hint="only models of one architecture can be merged",
        )


def _config(path: Path) -> dict[str, Any]:
    modelfiles.need_config(path)
    modelfiles.check_json([path / CONFIG])
    found: dict[str, Any] = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    return found


def companions(path: Path) -> list[Path]:
    """The files of a model beside its weights: config, tokenizer, chat template, code."""
    return [
        file
        for file in modelfiles.files(path)
        if file.suffix != ".safetensors" and not file.name.endswith(".safetensors.index.json") and file.name != ADAPTER_CONFIG
    ]
