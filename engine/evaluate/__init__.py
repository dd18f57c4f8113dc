"""The evaluate room: metrics of a checkpoint on held-out prompts. It fills the table `evaluations`.

A metric is a SQL file, sql/metrics/<name>.sql or metrics/<name>.sql beside the spec, that gives one value for each prompt
(columns prompt_id, value) over the relation `answers`; `name@k` binds $k, `name@k-s` also $s. The engine averages over prompts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import sqlfile
from engine.errors import QueryError, SpecError
from engine.registry import nearest
from engine.spec import Spec
from engine.sqlfile import SqlFile
from engine.views import SQL

NAME = re.compile(r"([a-z][a-z0-9_]*)(?:@(\d+)(?:-(\d+))?)?")
S, F, I = pa.string(), pa.float64(), pa.int64()  # noqa: E741 - as in engine.tables
ANSWERS = pa.schema(
    [
        ("prompt_id", S),
        ("suite", S),
        ("topic", S),
        ("sample", I),
        ("generation_id", S),
        ("content_id", S),
        ("response", S),
        ("response_tokens", I),
        ("finish_reason", S),
        ("reference", S),
        ("score", F),
        ("verdict", S),
    ]
)
JUDGED = re.compile(r"\b(score|verdict)\b")


def parse(name: str, spec_path: Path | None = None) -> tuple[SqlFile, dict[str, int]]:
    """The file of a metric and its numbers: 'pass@4' -> (pass.sql, {k: 4}), 'pass_s@4-2' -> (pass_s.sql, {k: 4, s: 2}), 'mean'.

    SpecError with the nearest name for an unknown metric, for a missing number and for one that the file does not use.
    """
    match = NAME.fullmatch(name)
    known = sorted(path.stem for folder in _folders(spec_path) for path in folder.glob("*.sql"))
    if not match or match[1] not in known:
        stem = name.partition("@")[0]
        raise SpecError(f"no metric {name!r}", where="evaluate.metrics", hint=nearest(stem, known))
    paths = (folder / f"{match[1]}.sql" for folder in _folders(spec_path))
    file = sqlfile.read(next(path for path in paths if path.is_file()))
    given = {letter: int(text) for letter, text in zip("ks", match.groups()[1:], strict=True) if text}
    for letter, example in (("k", "4"), ("s", "4-2")):
        if letter in file.parameters and not given.get(letter):
            raise SpecError(f"metric {name!r} needs a {letter} of 1 or more", where="evaluate.metrics", hint=f"e.g. {match[1]}@{example}")
        if letter in given and letter not in file.parameters:
            raise SpecError(f"metric {match[1]!r} takes no {letter}, found {name!r}", where="evaluate.metrics", hint=f"write {match[1]}")
    return file, given


def check(spec: Spec, spec_path: Path | None = None) -> None:
    """Tries every metric of the spec on made-up answers, so that a wrong one stops before any work.

    SpecError for a metric that does not exist, does not fit the number of samples, or needs a scorer and has none;
    QueryError for a file with a wrong result.
    """
    from engine.evaluate.metrics import Metrics

    samples = spec.evaluate.samples
    columns = [scorer.column for scorer in spec.score]
    if taken := sorted(set(columns) & set(ANSWERS.names)):
        raise SpecError(f"scorer name {taken[0]!r} is a column of `answers` already", where="score", hint="give the scorer another `name`")
    trial = Metrics(made_up(samples, columns), spec_path)
    for name in spec.evaluate.metrics:
        file, _ = parse(name, spec_path)
        file.require_stable()
        if not spec.score and JUDGED.search(file.code()):
            raise SpecError(
                f"metric {name!r} needs scores, and the spec has no scorer", where="evaluate.metrics", hint="add one to `score`"
            )
        try:
            trial.values(name)
        except QueryError as error:
            hint = f"evaluate.samples is {samples}"
            raise SpecError(f"metric {name!r}: {error.message}", where=f"evaluate.metrics ({file.path})", hint=hint) from error


def made_up(samples: int, columns: list[str]) -> pa.Table:
    """An `answers` table of one prompt with `samples` different answers, the first of them right."""
    rows: list[dict[str, Any]] = [
        {
            "prompt_id": "p",
            "suite": "test",
            "topic": "t",
            "sample": i,
            "generation_id": f"g{i}",
            "content_id": f"c{i}",
            "response": f"Answer: {i}",
            "response_tokens": 3,
            "finish_reason": "stop",
            "reference": "0",
            "score": float(i == 0),
            "verdict": "wrong" if i else "right",
        }
        | {column: float(i == 0) for column in columns}
        for i in range(samples)
    ]
    return pa.Table.from_pylist(rows, schema=answers_schema(columns))


def answers_schema(columns: list[str]) -> pa.Schema:
    """The columns of `answers`: ANSWERS and a DOUBLE for each scorer."""
    return pa.schema([*ANSWERS, *(pa.field(column, F) for column in columns)])


def _folders(spec_path: Path | None) -> list[Path]:
    return [*([spec_path.parent / "metrics"] if spec_path else []), SQL / "metrics"]
