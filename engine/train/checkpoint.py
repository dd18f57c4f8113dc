"""Checkpoint folders: written beside, then renamed to their digest, with a card that says where they come from."""

from __future__ import annotations

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from engine import models
from engine.disk import HINT, barred
from engine.errors import ModelError
from engine.home import Home

CARD = "rondo.json"
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers", "safetensors", "numpy")


def locate(home: Home, path: str) -> Path:
    """The folder that column `path` of a checkpoints row names: relative to the home, or absolute for imported models."""
    return Path(path) if Path(path).is_absolute() else home.root / path


def name(home: Home, folder: Path) -> str:
    """What column `path` says for a folder: relative where it lies in the home, so that a home can be moved."""
    return folder.relative_to(home.root).as_posix() if folder.is_relative_to(home.root) else str(folder.absolute())


def packages() -> dict[str, str]:
    """Versions of everything that a training's result can depend on."""
    return {"python": python_version(), **{package: version(package) for package in PACKAGES}}


def ready(home: Home) -> None:
    """ModelError where no checkpoint can be written, so that this shows before a training and not after it."""
    try:
        home.checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"cannot write checkpoints: {error}", where=str(home.checkpoints), hint=HINT) from error
    if why := barred(home.checkpoints):
        raise ModelError(f"cannot write checkpoints: {why}", where=str(home.checkpoints), hint=HINT)


def staging(journal: Path) -> Path:
    """An empty folder in the step's journal (of one experiment alone, on the same disk as the checkpoints) for a model that is
    not whole yet; what a killed process left there goes."""
    folder = journal / "model"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise ModelError(f"cannot write the journal: {error}", where=str(folder), hint="check its permissions") from error
    return folder


def publish(home: Home, partial: Path, card: dict[str, Any]) -> tuple[str, Path]:
    """Renames a whole model to checkpoints/<digest> and returns both; the card, with the digest, lies in it as rondo.json.

    An equal model that is there already is kept with its card; one whose files no longer have its digest is replaced.
    ModelError where the disk says no.
    """
    found = models.digest(partial)
    target = home.checkpoints / found
    try:
        (partial / CARD).write_text(json.dumps({"digest": found, **card}, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
        for path in partial.iterdir():
            _sync(path)
        home.checkpoints.mkdir(parents=True, exist_ok=True)
        if not _whole(target, found):
            shutil.rmtree(target, ignore_errors=True)
            try:
                partial.rename(target)
            except OSError:
                if not _whole(target, found):  # another experiment may have published the same model just now
                    raise
        shutil.rmtree(partial, ignore_errors=True)
        _sync(home.checkpoints)
    except OSError as error:
        raise ModelError(f"cannot write the checkpoint: {error}", where=str(target), hint="free space, then run again") from error
    return found, target


def _whole(folder: Path, expected: str) -> bool:
    try:
        return models.digest(folder) == expected
    except ModelError:
        return False


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
