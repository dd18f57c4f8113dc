"""The way back of `rondo audit`: a filled-in CSV, checked line by line against the round that it was drawn from, into the lake."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import DataError, SpecError
from engine.experiment import Experiment, key, parse_round
from engine.report import sheet
from engine.report.audit import ASKED, OWN, PARTS
from engine.score.human import Label, Stored, store

Place = tuple[int, str]
SHOWN = 20  # problems that are listed


@dataclass(frozen=True)
class Read:
    """What a file held: rows without a label, labels by kind, and what became of them in each round."""

    path: Path
    experiment: str
    unlabelled: int
    right: int
    wrong: int
    numbers: int
    stored: list[Stored]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Line:
    """One row of the file with a label."""

    number: int
    place: Place
    row: dict[str, str]
    verdict: str | None
    value: float


def read(experiment: Experiment, path: Path) -> Read:
    """Stores the labels of a file. DataError with every wrong line, and then nothing is stored; LockError while it is driven."""
    lines, unlabelled, problems = _lines(experiment.name, path)
    problems += _unknown(experiment, lines)
    if problems:
        problems.sort(key=lambda problem: problem[0])
        listed = [f"line {number}: {text}" for number, text in problems[:SHOWN]]
        listed += [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        hint = "correct the lines and read the file again; nothing was stored"
        raise DataError("\n    ".join([f"{len(problems)} lines cannot be read", *listed]), where=str(path), hint=hint)
    if not lines:
        raise DataError(f"no row has a label ({unlabelled} rows)", where=str(path), hint="fill the column human: right, wrong or a number")
    places = sorted({line.place for line in lines})
    with experiment.driver() as driver:
        stored = [store(driver, *place, _labels([line for line in lines if line.place == place])) for place in places]
    verdicts = Counter(line.verdict for line in lines)
    return Read(path, experiment.name, unlabelled, verdicts["right"], verdicts["wrong"], verdicts[None], stored)


def _lines(name: str, path: Path) -> tuple[list[Line], int, list[tuple[int, str]]]:
    """Rows with a label, how many have none, and what is wrong with which line."""
    lines: list[Line] = []
    unlabelled, problems, seen = 0, [], dict[tuple[str, ...], int]()
    for number, row in sheet.read(path, [*OWN, *ASKED]):
        try:
            place, label = _place(name, row), row["human"].strip()
            twice = (*map(str, place), row["item_id"])
            if twice in seen:
                raise SpecError(f"{row['item_id']} stands in line {seen[twice]} already")
            seen[twice] = number
            if not label:
                unlabelled += 1
                continue
            lines.append(Line(number, place, row, *_label(label)))
        except SpecError as error:
            problems.append((number, error.message))
    return lines, unlabelled, problems


def _place(name: str, row: dict[str, str]) -> Place:
    if row["experiment"] != name:
        raise SpecError(f"it is of the experiment {row['experiment']!r}, not of {name!r}")
    if row["answers_of"] not in PARTS:
        raise SpecError(f"answers_of is {row['answers_of']!r}; expected {' or '.join(PARTS)}")
    if not row["stratum_size"].isdigit() or not int(row["stratum_size"]):
        raise SpecError(f"stratum_size is {row['stratum_size']!r}; expected the whole number that was written")
    return parse_round(row["round"].strip()), row["answers_of"]


def _label(text: str) -> tuple[str | None, float]:
    """The verdict (None for a number) and the value of what a person wrote."""
    if text.casefold() in ("right", "wrong"):
        return text.casefold(), float(text.casefold() == "right")
    try:
        value = float(text.replace(",", ".")) if text.count(",") == 1 and "." not in text else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SpecError(f"the label is {text!r}; expected right, wrong or a number")
    return None, value


def _unknown(experiment: Experiment, lines: list[Line]) -> list[tuple[int, str]]:
    """Lines whose answer is not in the round, or is not what it was; and strata with more labels than answers."""
    problems = []
    for place in sorted({line.place for line in lines}):
        round_, part = place
        columns = ["generation_id", "content_id", "prompt_id"]
        rows = experiment.lake.read("generations", experiment=experiment.name, rounds=[round_], part=part, columns=columns)
        known = {row["generation_id"]: row for row in rows.to_pylist()}
        for line in (line for line in lines if line.place == place):
            found = known.get(line.row["item_id"])
            if found is None:
                problems.append((line.number, f"no answer {line.row['item_id']!r} among the {part} answers of round {key(round_)}"))
            elif found["content_id"] != line.row["content_id"]:
                problems.append((line.number, f"the answer {line.row['item_id']} is another text now than the one that was labelled"))
            elif found["prompt_id"] != line.row["prompt_id"]:
                problems.append((line.number, f"the answer {line.row['item_id']} is one to {found['prompt_id']}"))
    counts = Counter(_stratum(line) for line in lines)
    over = [line for line in lines if counts[_stratum(line)] > int(line.row["stratum_size"])]
    return problems + [(line.number, f"stratum {line.row['stratum']} has more labels than its stratum_size") for line in over[:1]]


def _stratum(line: Line) -> tuple[Any, ...]:
    return line.place, line.row["rule"], line.row["stratum"], int(line.row["stratum_size"])


def _labels(lines: list[Line]) -> list[Label]:
    """With the weights that the labelled rows have: a stratum's answers, shared among those of them that got a label."""
    counts = Counter(_stratum(line) for line in lines)
    return [
        Label(
            line.row["item_id"],
            line.row["content_id"],
            line.row["prompt_id"],
            line.verdict,
            line.value,
            int(line.row["stratum_size"]) / counts[_stratum(line)],
            line.row["rule"],
            line.row["stratum"],
            line.row["note"].strip() or None,
        )
        for line in lines
    ]
