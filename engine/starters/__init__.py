"""What `rondo init` writes: experiments that run as they are, with their data or a place for the user's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import DataError, SpecError
from engine.registry import nearest

FOLDER = Path(__file__).parent


def names() -> dict[str, str]:
    """Starters by name, each with one line that says what it is."""
    return {
        "quickstart": "word problems and a 131,328-parameter model that learns to solve them, offline, on one CPU core",
        "gsm8k": "your copy of GSM8K, with a model from the hub or with answers that you recorded elsewhere",
    }


def create(name: str, folder: Path, **options: Any) -> list[Path]:
    """Writes the experiments of a starter into `folder` (a home's `experiments`); returns every file of it.

    Options: `seed` (int) of the quickstart's data; `train` and `test` (paths) of GSM8K's JSONL files.
    Files that are there already with the same content stay. Raises DataError, before anything is written, for one that
    differs, and SpecError for an unknown starter or option.
    """
    if name not in names():
        raise SpecError(f"no starter {name!r}", hint=nearest(name, list(names())))
    makers: dict[str, tuple[Callable[..., dict[str, str]], list[str]]] = {
        "quickstart": (_quickstart, ["seed"]),
        "gsm8k": (_gsm8k, ["train", "test"]),
    }
    maker, known = makers[name]
    unknown = next((option for option in options if option not in known), None)
    if unknown is not None:
        raise SpecError(f"starter {name}: no option {unknown!r}", hint=nearest(unknown, known))
    files = maker(**{option: value for option, value in options.items() if value is not None})
    return _write(folder, files)


def _write(folder: Path, files: dict[str, str]) -> list[Path]:
    paths = {folder / name: text for name, text in files.items()}
    try:
        for path, text in paths.items():
            if path.exists() and path.read_bytes() != text.encode():
                raise DataError(
                    "there is another file of this name, and `init` never overwrites",
                    where=str(path),
                    hint="move it away, or use another home (RONDO_HOME)",
                )
        for path, text in paths.items():
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_name(path.name + ".partial")
                partial.write_bytes(text.encode())
                partial.replace(path)
    except OSError as error:
        raise DataError(f"cannot write the starter: {error}", where=str(folder), hint="is there space, and may you write there?") from error
    return list(paths)


def _shipped(name: str) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((FOLDER / name).glob(f"{name}*.yaml"))}


def _quickstart(seed: int | None = None) -> dict[str, str]:
    from engine.starters.problems import SEED, problems

    made = problems(SEED if seed is None else seed)
    files = _shipped("quickstart")
    files["quickstart/README.md"] = (FOLDER / "quickstart" / "README.md").read_text(encoding="utf-8")
    for split, rows in made.items():
        lines = []
        for row in rows:
            record: dict[str, Any] = {"question": row.question, "answer": row.answer, "topic": row.topic}
            lines.append(json.dumps(record | ({"response": row.solution} if split == "base" else {})))
        files[f"quickstart/{split}.jsonl"] = "\n".join(lines) + "\n"
    return files


def _gsm8k(train: str | Path = "", test: str | Path = "") -> dict[str, str]:
    files = _shipped("gsm8k")
    for given, placeholder in ((train, "gsm8k_train.jsonl"), (test, "gsm8k_test.jsonl")):
        if given:
            path = Path(given).absolute()
            if not path.is_file():
                raise DataError(f"no data file {str(given)!r}; looked for {path}", where=str(path))
            files["gsm8k.yaml"] = files["gsm8k.yaml"].replace(f": {placeholder}", f": {json.dumps(str(path))}")
    return files
