"""Garbage: removes what nothing names any more, and nothing else.

Kept: of every table the newest version and each version that a checkpoint's `inputs` name; every checkpoint folder that a row
names; the journals of experiments that are being driven. A driven experiment may still read what it saw when it opened its
round, so files that left a table since then stay too.
"""

from __future__ import annotations

import json
import math
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from deltalake.exceptions import DeltaError

from engine import adapters
from engine.errors import LakeError, LockError, ModelError
from engine.home import Home
from engine.lake import Lake
from engine.ledger import OPENING
from engine.locks import Lock
from engine.tables import TABLES

GRACE = 1  # hours: whatever is younger may belong to a process that no lock here knows


@dataclass
class Report:
    """What was removed (or would be, in a dry run), in bytes and by name, and what was left alone and why."""

    dry_run: bool
    bytes: int = 0
    files: dict[str, int] = field(default_factory=dict)
    checkpoints: list[str] = field(default_factory=list)
    journals: list[str] = field(default_factory=list)
    kept_versions: dict[str, list[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def collect(home: Home, lake: Lake, hours: float = 168, dry_run: bool = False) -> Report:
    """Removes data files, checkpoint folders and journals that nothing has named for `hours`. LakeError where the disk refuses."""
    report = Report(dry_run)
    with ExitStack() as stack:
        driven = _lock(home, lake, stack)
        for name in sorted(driven):
            report.notes.append(f"{name} is being driven: what it may still use was left alone")
        versions = named(lake)
        keep_hours = max(hours, _in_use(home, lake, driven))
        for name in TABLES:
            _table(lake, name, versions.get(name, set()), keep_hours, not driven, report)
        if driven:
            report.notes.append("files of crashed writers and unnamed checkpoint folders stay: run again when nothing is driven")
        else:
            _checkpoints(home, lake, hours, report)
        _journals(home, hours, driven, report)
    return report


def named(lake: Lake) -> dict[str, set[int]]:
    """For each table the versions that some checkpoint's `inputs` name."""
    found: dict[str, set[int]] = {}
    rows = lake.read("checkpoints", columns=["digest", "inputs"]).to_pylist()
    for row in rows:
        try:
            inputs = json.loads(row["inputs"])
            for entry in inputs:
                for table, version in entry.get("versions", {}).items():
                    found.setdefault(table, set()).add(int(version))
                if "table" in entry and "version" in entry:
                    found.setdefault(entry["table"], set()).add(int(entry["version"]))
        except (ValueError, TypeError, AttributeError) as error:
            raise LakeError(
                f"checkpoint {row['digest']}: its inputs cannot be read ({error}), so nothing was removed",
                where=lake.path("checkpoints"),
                hint="`rondo sql 'select digest, inputs from lake.checkpoints'`",
            ) from error
    return found


def _lock(home: Home, lake: Lake, stack: ExitStack) -> set[str]:
    """Takes the lock of every experiment and device that this home knows; returns those that somebody else holds."""
    names = {path.stem for path in home.locks.glob("*.lock")} | {path.name for path in home.journal.glob("*") if path.is_dir()}
    names |= {file.experiment for file in lake.files("steps")} | set(_specs(home))
    driven, attempt = set(), uuid.uuid4().hex[:12]
    for name in sorted(names):
        try:
            stack.enter_context(Lock(home.locks, name, attempt))
        except LockError:
            driven.add(name)
    return driven


def _specs(home: Home) -> Iterator[str]:
    for path in home.experiments.glob("*.yaml"):
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # a broken spec cannot be driven
        if isinstance(values, dict) and isinstance(values.get("experiment"), str):
            yield values["experiment"]


def _in_use(home: Home, lake: Lake, driven: set[str]) -> float:
    """Hours since the oldest open round of a driven experiment was opened; a checkpoint of it may yet name what was current then.

    Homes that share a lake do not see each other's locks, so there every open round counts.
    """
    shared = lake.uri != str(home.root / "lake")
    if not driven and not shared:
        return 0
    steps = lake.read("steps", columns=["step", "ingredients", "at"]).to_pylist()
    closed = {(s["experiment"], s["round"]): s["at"] for s in steps if s["step"] == "promotion"}
    opened = [s for s in steps if s["step"] == OPENING and (shared or s["experiment"] in driven)]
    times = [s["at"] for s in opened if closed.get((s["experiment"], s["round"]), s["at"]) <= s["at"]]
    oldest = min(times, default=datetime.now(UTC))
    return (datetime.now(UTC) - oldest).total_seconds() / 3600 + GRACE


def _table(lake: Lake, name: str, versions: set[int], hours: float, orphans: bool, report: Report) -> None:
    """Vacuums one table; with `orphans` also files that no commit names, once they are older than GRACE."""
    table = lake.table(name)
    if table is None:
        return
    keep = sorted({version for version in versions if version <= table.version()} | {table.version()})
    report.kept_versions[name] = keep
    lost = sorted(versions - set(keep))
    if lost:
        report.notes.append(f"{name}: a checkpoint names version {lost[0]}, which the table never had")
    passes = [(math.ceil(hours), False)] + ([(max(GRACE, math.ceil(hours)), True)] if orphans else [])
    sizes: dict[str, int] = {}
    try:
        for age, full in passes:
            options = {"retention_hours": age, "enforce_retention_duration": False, "keep_versions": keep, "full": full}
            going = _sizes(lake, name, table.vacuum(dry_run=True, **options))
            sizes |= going
            if going and not report.dry_run:
                table.vacuum(dry_run=False, **options)
    except (DeltaError, OSError) as error:
        raise LakeError(f"cannot clean table {name}: {error}", where=lake.path(name), hint="check its rights, then run gc again") from error
    if sizes:
        report.files[name] = len(sizes)
        report.bytes += sum(sizes.values())


def _sizes(lake: Lake, name: str, paths: list[str]) -> dict[str, int]:
    """Bytes of those files that exist: Delta also lists what an earlier vacuum has removed."""
    if lake.local:
        root = Path(lake.path(name).removeprefix("file://"))
        return {path: (root / path).stat().st_size for path in paths if (root / path).exists()}
    from pyarrow import fs

    filesystem, base = fs.FileSystem.from_uri(lake.path(name))
    infos = filesystem.get_file_info([f"{base}/{path}" for path in paths])
    return {path: info.size or 0 for path, info in zip(paths, infos, strict=True) if info.type == fs.FileType.File}


def _checkpoints(home: Home, lake: Lake, hours: float, report: Report) -> None:
    """Folders below checkpoints/ that no row of the table names, neither as a model nor as the base of an adapter (unfinished ones of
    killed trainings among them)."""
    folders = [path for path in sorted(home.checkpoints.glob("*")) if path.is_dir() or path.is_symlink()]
    if folders and lake.table("checkpoints") is None:
        report.notes.append(f"{lake.uri} has no table of checkpoints: none of {len(folders)} folders was touched")
        return
    names = {Path(path).name for path in lake.read("checkpoints", columns=["path"])["path"].to_pylist()}
    names |= {base for folder in folders if folder.name in names and (base := _base(folder)) is not None}
    report.checkpoints = _remove(folders, lambda path: path.name in names, max(hours, GRACE), report)


def _base(folder: Path) -> str | None:
    """The name of the folder that an adapter stands on."""
    try:
        base = adapters.base_folder(folder)
    except ModelError:
        return None  # it is gone, or the adapter is broken: nothing to keep
    return base.name if base else None


def _journals(home: Home, hours: float, driven: set[str], report: Report) -> None:
    """Journals of steps that nobody has driven for `hours`; their finished batches would be computed again."""
    for owner in sorted(home.journal.glob("*")):
        if owner.is_dir() and owner.name not in driven:
            least = GRACE if owner.name == "spill" else hours
            report.journals += _remove(sorted(owner.glob("*")), lambda path: False, max(hours, least), report)
            if not report.dry_run and not any(owner.iterdir()):
                owner.rmdir()


def _remove(paths: list[Path], named: Callable[[Path], bool], hours: float, report: Report) -> list[str]:
    gone = []
    for path in paths:
        single = path.is_symlink() or path.is_file()  # a link to an imported model goes, never the model
        files = [path] if single else [file for file in path.rglob("*") if file.is_file()]
        newest = max([path.lstat().st_mtime, *(file.lstat().st_mtime for file in files)])
        if named(path) or time.time() - newest < hours * 3600:
            continue
        report.bytes += sum(file.lstat().st_size for file in files)
        gone.append(str(path))
        if not report.dry_run:
            try:
                path.unlink() if single else shutil.rmtree(path)
            except OSError as error:
                raise LakeError(f"cannot remove it: {error}", where=str(path), hint="check the folder's rights") from error
    return gone
