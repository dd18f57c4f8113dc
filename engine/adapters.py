"""Adapters of PEFT: what a folder with one says of it, and a base model with the adapter put on.

An adapter stays beside its base's weights, so that many of them can share one base; it is merged where its model trains whole, or
is merged with others (`engine.train.adapter` trains on the adapter itself)
(LoRA: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, https://github.com/huggingface/peft).
Importing this loads neither torch nor peft.
"""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine import modelfiles
from engine.errors import ModelError
from engine.modelfiles import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, TEMPLATE

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PREFIX = "base_model.model."  # what PEFT writes before the names of a base's modules
# Kinds that do not live in the base's layers alone: they need PEFT's own forward pass, which knows nothing of our caches.
NOT_IN_LAYERS = ("POLY", "SHADOW", "XLORA")
# Kinds whose layers refer to vectors that the adapter keeps once: PEFT then misses the layers' own.
SHARED = ("TINYLORA", "UNILORA", "VBLORA")


class Adapter(NamedTuple):
    """`path` and `base` are folders; `rank` is the largest of any module (0 for kinds without one); `targets` are the modules that
    it adapts: names, endings of names, or one regular expression; `kind` is PEFT's word (LORA, IA3, ...)."""

    path: Path
    base: Path
    rank: int
    targets: tuple[str, ...]
    kind: str = "LORA"


def is_adapter(path: Path) -> bool:
    """Whether a folder is an adapter and no whole model. ModelError for one that is both: nothing says which is meant."""
    if not (path / ADAPTER_CONFIG).is_file():
        return False
    whole = [file.name for file in path.glob(modelfiles.WEIGHTS) if file.name != ADAPTER_WEIGHTS]
    if whole and (path / CONFIG).is_file():
        raise ModelError(
            f"a whole model ({min(whole)}) and an adapter ({ADAPTER_CONFIG}) in one folder",
            where=str(path),
            hint=f"give each a folder of its own, or remove {ADAPTER_CONFIG} if its weights are merged already",
        )
    return True


def find(path: Path) -> Adapter | None:
    """The adapter in a folder; None where the folder is a whole model, or none.

    The base is a folder (relative to the adapter's, or absolute) or a hub id; what the hub's cache has is taken as it is, else the
    hub is asked. ModelError for a broken config, missing weights, or a base that cannot be found or is no whole model.
    """
    if not is_adapter(path):
        return None
    config, base = _config(path), _base_folder(path)
    _need_weights(path)
    if base is None:
        base = modelfiles.resolve(_base_name(path), path / ADAPTER_CONFIG, revision=config.get("revision"), stored_first=True)
    _need_whole(path, base)
    ranks = [config.get("r") or 0, *(config.get("rank_pattern") or {}).values()]
    targets = config.get("target_modules") or ()
    return Adapter(path, base, max(ranks), (targets,) if isinstance(targets, str) else tuple(sorted(targets)), str(config["peft_type"]))


def check(path: Path) -> None:
    """ModelError for a folder whose adapter cannot work: as in `find`, but a base on the hub is not looked for. Loads nothing."""
    modelfiles.check_json(modelfiles.files(path))
    base = _base_folder(path)
    _need_weights(path)
    if base is not None:
        _need_whole(path, base)
        modelfiles.check(base)


def digest(adapter: Adapter) -> str:
    """16 hex digits over the adapter's own files and those of its base."""
    return _joined(modelfiles.digest(adapter.path), modelfiles.digest(adapter.base))


def named(path: Path) -> str:
    """What stands for an adapter where the network must not be reached: as `digest`, but with the id of a base on the hub."""
    base = _base_folder(path)
    if base is not None:
        return _joined(modelfiles.digest(path), modelfiles.digest(base))
    return f"{modelfiles.digest(path)} on {_base_name(path)}"


def provided(adapter: Adapter) -> set[str]:
    """Names of the base's own tensors that the adapter's file replaces (`modules_to_save`, such as a new head)."""
    return {key.removeprefix(PREFIX) for key in _keys(adapter)}


def base_folder(path: Path) -> Path | None:
    """The base's folder where a folder is an adapter with one; None for a whole model, and for a base on the hub.

    ModelError where the folder that it names is gone.
    """
    return _base_folder(path) if is_adapter(path) else None


def put_on(model: PreTrainedModel, adapter: Adapter, device: str, merge: bool = False) -> PreTrainedModel:
    """`model` (the adapter's base, which changes in place) with the adapter in its layers, frozen; its class, signature and
    attributes stay. With `merge` the adapter goes into the weights and leaves no trace; they can be trained then.

    ModelError where PEFT cannot put it on, where tensors are missing or left over, and for kinds that are not of layers alone.
    """
    from peft import PeftConfig, get_peft_model
    from safetensors import SafetensorError

    try:
        config = PeftConfig.from_pretrained(str(adapter.path))
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise _refused(adapter, error) from error
    if config.is_prompt_learning or adapter.kind in NOT_IN_LAYERS or getattr(config, "alora_invocation_tokens", None):
        raise ModelError(
            f"an adapter of the kind {adapter.kind} works on the prompt or from outside the layers, and cannot be put on here",
            where=str(adapter.path),
            hint="use an adapter of layers, such as LoRA, or merge it into its base with PEFT",
        )
    # The base is where we found it, not where the adapter was trained; and the file's own layers need no clever first values.
    config.base_model_name_or_path, config.inference_mode = model.__dict__.get("name_or_path"), True
    try:
        wrapped = get_peft_model(model, config, autocast_adapter_dtype=False)
        result = wrapped.load_adapter(str(adapter.path), "default", autocast_adapter_dtype=False, torch_device=device)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError, OSError, SafetensorError) as error:
        raise _refused(adapter, error) from error
    _whole(adapter, list(result.missing_keys), list(result.unexpected_keys))
    if not merge:
        return wrapped.get_base_model()
    _mergeable(adapter, model)
    try:
        merged = wrapped.merge_and_unload(safe_merge=True)
    except (ValueError, AttributeError, NotImplementedError) as error:  # NaN in the merged weights, or a kind that cannot merge
        raise ModelError(f"the adapter cannot be merged into its base: {error}", where=str(adapter.path)) from error
    return merged.requires_grad_(True)


def _whole(adapter: Adapter, missing: list[str], left: list[str]) -> None:
    if adapter.kind in SHARED:
        missing = []
    if missing or left:
        what = f"{len(missing)} tensors of it are missing" if missing else f"{len(left)} tensors of it have no place in the base"
        raise ModelError(
            f"the adapter does not fit: {what}, first {min(missing or left)}",
            where=f"{adapter.path} on {adapter.base}",
            hint=f"is this the base that it was trained on? base_model_name_or_path of {ADAPTER_CONFIG} names it",
        )


def _mergeable(adapter: Adapter, model: PreTrainedModel) -> None:
    """ModelError where one tensor of the base stands in two places and the adapter over one of them."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    places = (model.get_input_embeddings(), model.get_output_embeddings())
    if model.config.get_text_config().tie_word_embeddings and any(
        isinstance(place, BaseTunerLayer | AuxiliaryTrainingWrapper) for place in places
    ):
        raise ModelError(
            "the adapter stands over one of the input and output embeddings, which this base shares: merged, it would change both",
            where=f"{adapter.path} on {adapter.base}",
            hint="train from the base, or give the base embeddings of its own (tie_word_embeddings: false) before",
        )


def _refused(adapter: Adapter, error: Exception) -> ModelError:
    cause = " ".join(str(error).split("\n")[:2])  # torch goes on with a line for each of hundreds of tensors
    return ModelError(
        f"cannot put the adapter on its base: {type(error).__name__}: {cause}",
        where=f"{adapter.path} on {adapter.base}",
        hint=f"is this the base that it was trained on? base_model_name_or_path of {ADAPTER_CONFIG} names it",
    )


def _keys(adapter: Adapter) -> list[str]:
    from safetensors import SafetensorError, safe_open

    file = adapter.path / ADAPTER_WEIGHTS
    try:
        with safe_open(file, framework="numpy") as tensors:
            return list(tensors.keys())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"cannot read the adapter: {error}", where=str(file), hint="restore the file") from error


def _config(path: Path) -> dict[str, Any]:
    file = path / ADAPTER_CONFIG
    modelfiles.check_json([file])
    config = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise ModelError("no config of a PEFT adapter: peft_type is missing", where=str(file), hint="save it with PEFT's save_pretrained")
    return config


def _base_name(path: Path) -> str:
    name = _config(path).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise ModelError(
            "the adapter does not say which base it belongs to: base_model_name_or_path is empty",
            where=str(path / ADAPTER_CONFIG),
            hint="set it to the base's folder (relative to the adapter's) or its hub id",
        )
    return name


def _base_folder(path: Path) -> Path | None:
    """The base's folder; None for a base on the hub. ModelError for a name that is neither."""
    name = _base_name(path)
    folder = Path(os.path.abspath(path / os.path.expanduser(name)))  # adapters of one base then name it alike
    if folder.is_dir():
        return folder
    if modelfiles.HUB_ID.fullmatch(name):
        return None
    raise ModelError(
        f"the adapter's base is gone: no folder {name!r}",
        where=str(path / ADAPTER_CONFIG),
        hint=f"looked for {folder}; set base_model_name_or_path to a folder (relative to the adapter's) or a hub id",
    )


def _need_weights(path: Path) -> None:
    modelfiles.need_weights(path, modelfiles.files(path))
    if not (path / ADAPTER_WEIGHTS).is_file():
        hint = "save the adapter with PEFT's save_pretrained (safetensors)"
        raise ModelError(f"{ADAPTER_WEIGHTS} is missing", where=str(path), hint=hint)


def _need_whole(path: Path, base: Path) -> None:
    if is_adapter(base):
        hint = "merge one of them into a whole model first"
        raise ModelError("the adapter's base is an adapter itself", where=f"{path} on {base}", hint=hint)
    modelfiles.need_weights(base, modelfiles.files(base))
    modelfiles.need_config(base)


def _joined(own: str, base: str) -> str:
    return blake2b(f"adapter {own} on {base}".encode(), digest_size=8).hexdigest()


def own_template(path: Path) -> str | None:
    """The chat template of an adapter's folder that has no tokenizer of its own."""
    file = path / TEMPLATE
    return file.read_text(encoding="utf-8") if file.is_file() else None
