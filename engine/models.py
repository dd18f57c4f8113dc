"""Models on disk: where they are, what identifies them, how they are loaded, and the text that they see.

Only safetensors are loaded, and code of a model's own repository only where the spec says so. Importing this file
loads neither torch nor transformers.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from engine.step import Device

WEIGHTS = "*.safetensors"
# Everything that can change what a model says, and nothing else (no cards, optimizer states or logs).
FILES = (
    WEIGHTS,
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
    "*.py",
)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
BLOCK = 1 << 20
# What transformers raises for folders that are incomplete or broken, depending on what is wrong with them.
LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)

_digests: dict[tuple[tuple[str, int, int], ...], str] = {}


def files(path: Path) -> list[Path]:
    """The files of a model folder that make it what it is, by relative name. ModelError where there is no such folder."""
    if not path.is_dir():
        raise ModelError(
            "no model folder here",
            where=str(path),
            hint="`rondo status` shows which checkpoint is missing; restore it or run its round again with --from",
        )
    found = {file for pattern in FILES for file in path.glob(pattern) if file.is_file()}
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


def digest(path: Path) -> str:
    """16 hex digits over names and bytes of weights, config, tokenizer, chat template and adapter files.

    Cached in the process by path, size and time of change of every file. ModelError where the folder or its weights are missing.
    """
    members = files(path)
    if not any(file.match(WEIGHTS) for file in members):
        raise _no_weights(path)
    try:
        stats = [(str(file.absolute()), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in members]
        key = tuple(stats)
        if key not in _digests:
            state = blake2b(digest_size=8)
            for file, (_, size, _) in zip(members, stats, strict=True):
                state.update(f"{file.relative_to(path).as_posix()}\0{size}\0".encode())
                with file.open("rb") as stream:
                    while block := stream.read(BLOCK):
                        state.update(block)
            _digests[key] = state.hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read the model: {error}", where=str(path)) from error
    return _digests[key]


def check(path: Path) -> None:
    """ModelError for a folder that cannot be a model: no safetensors, no config.json, JSON that is none. Loads nothing."""
    members = files(path)
    if not any(file.match(WEIGHTS) for file in members):
        raise _no_weights(path)
    _check_json(members)
    if not (path / "config.json").is_file():
        raise ModelError("config.json is missing", where=str(path), hint="an adapter alone is not a model: merge it into its base first")


def load_tokenizer(path: Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder; ModelError where it is missing or broken."""
    _check_json(files(path))
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
    except LOAD_ERRORS as error:
        raise ModelError(
            f"cannot load the tokenizer: {type(error).__name__}: {error}",
            where=str(path),
            hint="expected tokenizer.json and tokenizer_config.json as transformers saves them",
        ) from error


def load(
    path: Path, device: Device, trust_remote_code: bool = False, kind: str = "CausalLM"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in evaluation mode on `device`, and its tokenizer; sets torch's thread count. `kind`: CausalLM or SequenceClassification.

    ModelError, with the cause, for a missing folder, no safetensors, a broken config, weights that do not fill the model, or a
    tokenizer that cannot be read.
    """
    check(path)
    import torch
    import transformers
    from safetensors import SafetensorError
    from transformers.utils import logging

    torch.set_num_threads(device.threads)
    logging.disable_progress_bar()
    tokenizer = load_tokenizer(path, trust_remote_code)
    try:
        model, info = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(
            path,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            dtype=getattr(torch, device.dtype),
            output_loading_info=True,
        )
    except (*LOAD_ERRORS, SafetensorError) as error:
        raise ModelError(
            f"cannot load the model: {type(error).__name__}: {error}",
            where=str(path),
            hint="expected config.json and *.safetensors as transformers saves them",
        ) from error
    lost = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if lost:
        raise ModelError(
            f"the weights do not fill the model: {len(lost)} tensors are missing or of another shape, first {lost[0]}",
            where=str(path),
            hint="the folder is incomplete, its config.json belongs to another model, or a language model stands where a head is needed",
        )
    return model.to(device.device).eval(), tokenizer


def resolve(name: str, spec_path: Path) -> Path:
    """The folder of a model named in a spec: a folder (relative to the spec), else a hub id that is fetched or found in the hub's cache.

    ModelError where neither exists or the hub cannot be reached.
    """
    folder = (spec_path.parent / os.path.expanduser(name)).absolute()
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(name):
        raise ModelError(f"models: no folder {name!r}", where=str(spec_path), hint=f"looked for {folder}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"models: {name!r} is no folder ({folder}), and the hub did not give it: {cause}",
            where=str(spec_path),
            hint="give a folder with the model, or fetch it once while online (`hf download`)",
        ) from error


def chats(tokenizer: PreTrainedTokenizerBase, chat: bool | None) -> bool:
    """Whether the chat template is used: as asked, or where there is one. ModelError where one is asked for and missing."""
    if chat and not tokenizer.chat_template:
        raise ModelError(
            "chat: true, but the model has no chat template",
            where=str(tokenizer.name_or_path),
            hint="set generate.chat to false, or add a chat_template.jinja to the model's folder",
        )
    return bool(tokenizer.chat_template) if chat is None else chat


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, Any]], chat: bool | None) -> str:
    """The text that the model sees before its answer: the chat template with its generation prompt, else the contents by line."""
    if not chats(tokenizer, chat):
        return "\n".join(message["content"] for message in messages)
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template([dict(m) for m in messages], tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise ModelError(
            f"the chat template refuses these messages: {error}",
            where=str(tokenizer.name_or_path),
            hint=f"roles found: {', '.join(m['role'] for m in messages)}",
        ) from error


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], chat: bool | None) -> list[list[int]]:
    """Token ids of rendered texts; special tokens (BOS) are added only where no chat template has written them."""
    return tokenizer(texts, add_special_tokens=not chats(tokenizer, chat))["input_ids"] if texts else []


def _no_weights(path: Path) -> ModelError:
    other = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for file in path.glob(pattern))
    found = f"; found {', '.join(other[:3])}, which Rondo does not load" if other else ""
    return ModelError(f"no *.safetensors here{found}", where=str(path), hint="save the model with save_pretrained (safetensors)")


def _check_json(members: list[Path]) -> None:
    for file in members:
        if file.suffix == ".json":
            try:
                json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ModelError(f"not JSON: {error}", where=str(file), hint="restore the file from where the model came") from error
