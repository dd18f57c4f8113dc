"""`rondo audit`: draws answers whose scores are doubtful, for people to label, and reads the labels back into the lake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from engine.allocate import allocate
from engine.errors import RondoError, SpecError
from engine.experiment import Experiment, key
from engine.randomness import shuffled
from engine.registry import nearest
from engine.report import sheet
from engine.report.doubt import RULES, STRATA, Item, Seen, strata
from engine.score.human import SCORER
from engine.step import BASE

PARTS = ("rollout", "eval")
OWN = ("experiment", "round", "answers_of", "item_id", "content_id", "prompt_id", "rule", "stratum", "stratum_size", "weight")
TEXTS = ("prompt", "reference", "response")
ASKED = ("human", "note")


@dataclass(frozen=True)
class Stratum:
    """How many answers a stratum has, and how many of them were drawn; `weight` is what each of those stands for."""

    name: str
    what: str
    answers: int
    drawn: int

    @property
    def weight(self) -> float:
        """1 / the chance that an answer of it was drawn."""
        return self.answers / self.drawn


@dataclass(frozen=True)
class Drawn:
    """What was written to label."""

    path: Path
    experiment: str
    round: int
    answers_of: str
    scorer: str
    rule: str
    strata: list[Stratum]

    @property
    def rows(self) -> int:
        """Answers in the file."""
        return sum(one.drawn for one in self.strata)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"rows": self.rows, "strata": [asdict(one) | {"weight": one.weight} for one in self.strata if one.drawn]}


@dataclass(frozen=True)
class Ask:
    """What to draw. `scorer` None: the combined score; `round` None: the latest with such answers; `seed` None: the spec's."""

    answers_of: str = "rollout"
    scorer: str | None = None
    n: int = 50
    rule: str = "doubtful"
    bar: float = 1.0
    seed: int | None = None
    round: int | None = None


class Audit:
    """The answers of one round with their scores."""

    def __init__(self, experiment: Experiment, ask: Ask) -> None:
        self.experiment, self.ask = experiment, ask
        self._check()
        self.round = self._round()
        self.answers = self._read("generations", ask.answers_of)
        self.scores = self._scores()
        self.scorer = self._scorer()

    def _check(self) -> None:
        for option, value, known in (("--rule", self.ask.rule, RULES), ("--part", self.ask.answers_of, PARTS)):
            if value not in known:
                raise SpecError(f"{option} {value!r}: {nearest(value, list(known))}", where="command line")

    def _round(self) -> int:
        part, asked = self.ask.answers_of, self.ask.round
        rounds = sorted({file.round for file in self.experiment.lake.files("generations", experiment=self.experiment.name, part=part)})
        if not rounds:
            raise RondoError(f"{self.experiment.name} has no {part} answers yet", hint=f"`rondo run {self.experiment.name}` first")
        if asked is not None and asked not in rounds:
            hint = f"rounds that have them: {', '.join(map(key, rounds))}"
            raise RondoError(f"round {key(asked)} of {self.experiment.name} has no {part} answers", hint=hint)
        return rounds[-1] if asked is None else asked

    def _read(self, table: str, part: str, round_: int | None = None) -> list[dict[str, Any]]:
        rounds = [self.round if round_ is None else round_]
        return self.experiment.lake.read(table, experiment=self.experiment.name, rounds=rounds, part=part).to_pylist()

    def _scores(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Rows of scores by scorer and item; people left out."""
        rows = self.experiment.lake.read(
            "scores",
            experiment=self.experiment.name,
            rounds=[self.round],
            part=f"{self.ask.answers_of}/*",
            columns=["item_id", "item_kind", "scorer", "value", "verdict", "detail"],
        )
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for row in rows.filter(pc.equal(rows["item_kind"], "generation")).to_pylist():
            if row["scorer"] != SCORER:
                found.setdefault(row["scorer"], {})[row["item_id"]] = row
        return found

    def _scorer(self) -> str:
        known, asked = sorted(self.scores), self.ask.scorer
        if not known:
            hint = f"`rondo run {self.experiment.name}` first, with scorers in its spec"
            raise RondoError(f"round {key(self.round)} of {self.experiment.name} has no scores", hint=hint)
        if asked is not None and asked not in known:
            raise RondoError(f"no scorer {asked!r} in round {key(self.round)}", hint=nearest(asked, known))
        return asked or ("score" if "score" in known else known[0])

    def items(self) -> list[Item]:
        """The answers, by id, as the strata see them."""
        prompts = self.prompts()
        found = []
        for row in sorted(self.answers, key=lambda row: row["generation_id"]):
            item = row["generation_id"]
            seen = {name: Seen(rows[item]["value"], rows[item]["verdict"]) for name, rows in self.scores.items() if item in rows}
            others = {name: one for name, one in seen.items() if name != "score"}
            reference = prompts.get(row["prompt_id"], {}).get("reference")
            found.append(Item(item, row["prompt_id"], row["response"], reference, seen.get(self.scorer), others))
        return found

    def prompts(self) -> dict[str, dict[str, Any]]:
        """Rows of prompts by id; held-out ones are of the base's round."""
        held_out = self.ask.answers_of == "eval"
        places = [("gate", BASE), ("test", BASE)] if held_out else [("train", self.round)]
        return {row["prompt_id"]: row for part, round_ in places for row in self._read("prompts", part, round_)}

    def draw(self) -> tuple[list[Stratum], list[tuple[str, Stratum]]]:
        """The strata, and the drawn answers with theirs, in an order that tells nothing. RondoError where there are none."""
        ask, seed = self.ask, self.experiment.spec.seed if self.ask.seed is None else self.ask.seed
        found = strata(self.items(), ask.bar, ask.rule)
        if not found:
            what = "answers on which scorers disagree" if ask.rule == "disagreement" else "answers"
            raise RondoError(f"round {key(self.round)} of {self.experiment.name} has no {what}", hint="draw by another --rule")
        counts = shared([STRATA[name][0] if name in STRATA else 1.0 for name in found], [len(ids) for ids in found.values()], ask.n)
        made, drawn = [], []
        for (name, ids), count in zip(found.items(), counts, strict=True):
            one = Stratum(name, STRATA[name][1] if name in STRATA else "every answer", len(ids), count)
            made.append(one)
            order = shuffled(seed, self.round, f"audit {ask.answers_of} {ask.rule} {name}", ids)
            drawn += [(ids[place], one) for place in order[:count]]
        mixed = shuffled(seed, self.round, f"audit {ask.answers_of} order", [item for item, _ in drawn])
        return made, [drawn[place] for place in mixed]

    def write(self, path: Path) -> Drawn:
        """Draws, and writes the file to label."""
        made, drawn = self.draw()
        names = sorted(self.scores, key=lambda name: (name != self.scorer, name))
        columns = [*OWN, *TEXTS, *(f"{name}_{field}" for name in names for field in ("value", "verdict", "detail")), *ASKED]
        sheet.write(path, columns, self._rows(drawn, names))
        return Drawn(path, self.experiment.name, self.round, self.ask.answers_of, self.scorer, self.ask.rule, made)

    def _rows(self, drawn: list[tuple[str, Stratum]], names: list[str]) -> Iterator[list[Any]]:
        answers, prompts = {row["generation_id"]: row for row in self.answers}, self.prompts()
        for item, one in drawn:
            answer = answers[item]
            prompt = prompts.get(answer["prompt_id"], {})
            own = [self.experiment.name, key(self.round), self.ask.answers_of, item, answer["content_id"], answer["prompt_id"]]
            own += [self.ask.rule, one.name, one.answers, one.weight]
            texts = [said(answer["messages"] or prompt.get("messages") or []), prompt.get("reference"), answer["response"]]
            judged = [self.scores[name].get(item, {}).get(field) for name in names for field in ("value", "verdict", "detail")]
            yield [*own, *texts, *judged, None, None]


def shared(weights: list[float], sizes: list[int], n: int) -> list[int]:
    """How many answers to draw from each stratum: one from each if `n` allows it, the rest by weight, no more than there are.

    A stratum that no answer is drawn from is one that no estimate can speak of.
    """
    if n < len(sizes):
        return allocate(weights, sizes, n)
    rest = allocate(weights, [size - 1 for size in sizes], n - len(sizes))
    return [1 + more for more in rest]


def said(messages: list[dict[str, str]]) -> str:
    """A chat as one text; of a single message only what it says."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{one['role']}: {one['content']}" for one in messages)
