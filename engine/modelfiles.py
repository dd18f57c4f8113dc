"""The files of a model on disk: which of them count, what they are in bytes, whether they can be a model, and where a name leads.

Shared by `engine.models` (whole models) and `engine.adapters` (adapters and their bases). Importing it loads no torch.
"""

from __future__ import annotations

import json
import os
import re
from hashlib import blake2b
from pathlib import Path

from engine.errors import ModelError

WEIGHTS = "*.safetensors"
CONFIG, ADAPTER_CONFIG, ADAPTER_WEIGHTS = "config.json", "adapter_config.json", "adapter_model.safetensors"
TEMPLATE = "chat_template.jinja"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "*.tiktoken",
)
# Everything that can change what a model says, and nothing else (no cards, optimizer states or logs).
FILES = (
    WEIGHTS,
    "*.safetensors.index.json",
    CONFIG,
    "generation_config.json",
    ADAPTER_CONFIG,
    *TOKENIZER,
    TEMPLATE,
    "chat_template.json",
    "additional_chat_templates/*.jinja",
    "*.py",
)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
BLOCK = 1 << 20

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
    """16 hex digits over names and bytes of a folder's own files, the base of an adapter not among them.

    Cached in the process by path, size and time of change of every file. ModelError where the folder or its weights are missing.
    """
    members = files(path)
    need_weights(path, members)
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
    """ModelError for a folder that cannot be a whole model: no safetensors, no config.json, JSON that is none. Loads nothing."""
    members = files(path)
    need_weights(path, members)
    check_json(members)
    need_config(path)


def check_json(members: list[Path]) -> None:
    """ModelError for a JSON file that is none."""
    for file in members:
        if file.suffix == ".json":
            try:
                json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ModelError(f"not JSON: {error}", where=str(file), hint="restore the file from where the model came") from error


def need_config(path: Path) -> None:
    """ModelError where a whole model's config is missing."""
    if not (path / CONFIG).is_file():
        hint = f"expected a model as transformers saves it, or an adapter with its {ADAPTER_CONFIG}"
        raise ModelError(f"{CONFIG} is missing", where=str(path), hint=hint)


def need_weights(path: Path, members: list[Path]) -> None:
    """ModelError where `members` of a folder hold no safetensors; it names what lies there instead."""
    if any(file.match(WEIGHTS) for file in members):
        return
    other = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for file in path.glob(pattern))
    found = f"; found {', '.join(other[:3])}, which Rondo does not load" if other else ""
    raise ModelError(f"no *.safetensors here{found}", where=str(path), hint="save the model with save_pretrained (safetensors)")


def quantised(path: Path) -> str | None:
    """How the weights of a folder are quantised (gptq, awq, bitsandbytes, fp8, ...); None where they are plain numbers."""
    config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    own = config.get("quantization_config") or config.get("text_config", {}).get("quantization_config")
    return str(own.get("quant_method", "of an unknown kind")) if isinstance(own, dict) else None


def has_tokenizer(path: Path) -> bool:
    """Whether a folder has a tokenizer of its own."""
    return any(next(path.glob(pattern), None) is not None for pattern in TOKENIZER)


def resolve(name: str, place: Path, *, revision: str | None = None, stored_first: bool = False) -> Path:
    """The folder of a model that the file `place` (a spec, an adapter's config) names: a folder relative to that file, else a hub id
    that is fetched or found in the hub's cache.

    `stored_first`: what the cache has of the hub id (at `revision`) is taken without asking the hub whether it has a newer one.
    ModelError where neither exists or the hub cannot be reached.
    """
    folder = (place.parent / os.path.expanduser(name)).absolute()
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(name):
        raise ModelError(f"models: no folder {name!r}", where=str(place), hint=f"looked for {folder}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        if stored_first:
            try:
                return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES), local_files_only=True))
            except LocalEntryNotFoundError:
                pass
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"models: {name!r} is no folder ({folder}), and the hub did not give it: {cause}",
            where=str(place),
            hint="give a folder with the model, or fetch it once while online (`hf download`)",
        ) from error
