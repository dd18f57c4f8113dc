"""Checkpoint folders: written beside, then renamed to their digest, with a card that says where they come from."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from engine import adapters, modelfiles, models
from engine.disk import HINT, barred, writing
from engine.errors import ModelError
from engine.home import Home
from engine.ids import canonical
from engine.step import Context
from engine.train import Trained, keepsakes

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


def row(
    ctx: Context,
    *,
    role: str,
    digest: str,
    folder: Path,
    parents: list[str],
    objective: str,
    settings: dict[str, Any],
    trained: Trained | None = None,
    seconds: float = 0.0,
) -> dict[str, Any]:
    """The row of `checkpoints` of a model that the step has published; `trained` None: nothing was trained for it."""
    return {
        "digest": digest,
        "parents": parents,
        "role": role,
        "path": name(ctx.home, folder),
        "objective": objective,
        "rows_expected": trained.rows_expected if trained else 0,
        "rows_trained": trained.rows_trained if trained else 0,
        "tokens": trained.tokens if trained else 0,
        "steps": trained.steps if trained else 0,
        "loss": trained.loss if trained else None,
        "seconds": trained.seconds if trained else seconds,
        "inputs": json.dumps(ctx.inputs()),
        "settings": canonical(settings),
        "packages": canonical(packages()),
        "attempt": ctx.attempt,
        "at": datetime.now(UTC),
    }


def publish(home: Home, partial: Path, card: dict[str, Any]) -> tuple[str, Path]:
    """Renames a model to checkpoints/<digest> and returns both; the card, with the digest, lies in it as rondo.json. An adapter names
    its base by digest, as the folder beside its own.

    An equal model that is there already is kept with its card; one whose files no longer have its digest is replaced.
    ModelError where the disk says no.
    """
    with writing("the checkpoint", partial):
        found, base = _settled(home, partial) if adapters.is_adapter(partial) else (models.digest(partial), None)
    card |= {"base": base} if base else {}
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
        for kept in keepsakes.of(partial) if partial.exists() else []:  # an equal model was there: what later rounds need goes beside it
            if not (target / kept.name).exists():
                kept.rename(target / kept.name)
        shutil.rmtree(partial, ignore_errors=True)
        _sync(home.checkpoints)
    except OSError as error:
        raise ModelError(f"cannot write the checkpoint: {error}", where=str(target), hint="free space, then run again") from error
    return found, target


def _settled(home: Home, partial: Path) -> tuple[str, str]:
    """The digests of an adapter, whose config now names its base as ../<digest>, and of that base.

    A base that lies outside the home (an imported model) gets a link there, so that no local path enters the adapter.
    """
    from engine.train.adapter import change

    adapter = adapters.find(partial)
    assert adapter is not None
    base = modelfiles.digest(adapter.base)
    place = home.checkpoints / base
    home.checkpoints.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() and not place.is_dir():
        place.unlink()  # the imported model has moved
    if not place.is_dir():
        with suppress(FileExistsError):  # another experiment may have made it just now
            place.symlink_to(adapter.base.absolute(), target_is_directory=True)
    if not _whole(place, base):
        raise ModelError(
            f"the adapter's base is not what its digest says: expected {base}", where=str(place), hint="restore or remove this folder"
        )
    change(partial, base_model_name_or_path=f"../{base}")
    return adapters.digest(adapter), base


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
