"""Embedding models in a local folder: where they are, what identifies them, and what to install for them."""

from __future__ import annotations

from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path

from engine.errors import SpecError
from engine.ids import file_digest

# cards, pictures and exports to other runtimes change no vector
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")


def folder(path: str, spec_path: Path) -> Path:
    """The model's folder, relative to the spec. SpecError where there is none, or no safetensors in it."""
    found = (spec_path.parent / Path(path).expanduser()).absolute()
    if not found.is_dir():
        raise SpecError(
            f"params.path: no folder {path!r}",
            hint=f"looked for {found}; embedding models are never fetched while a round runs: download one once and name its folder",
        )
    if not any(found.rglob("*.safetensors")):
        raise SpecError(f"params.path: no *.safetensors in the embedding model's folder {found}", hint="save it as safetensors")
    return found


def digest(path: Path) -> str:
    """16 hex digits over names and bytes of the model's files, those in folders below included."""
    files = sorted({file.relative_to(path).as_posix() for pattern in FILES for file in path.rglob(pattern) if file.is_file()})
    state = blake2b(digest_size=8)
    for name in files:
        state.update(f"{name}\0{file_digest(path / name)}\0".encode())
    return state.hexdigest()


def need(package: str, method: str) -> None:
    """SpecError where a package of the extra `embed` is missing."""
    if find_spec(package) is None:
        raise SpecError(
            f"embedder: {method!r} needs the package {package.replace('_', '-')}, which is not installed",
            hint="pip install 'rondo[embed]', or take embedder: hashed_ngrams, which needs no model",
        )
