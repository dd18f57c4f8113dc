"""Does the conclusion of an answer follow from the prompt's premises in first-order logic? Decided by the prover Z3."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, field_validator

from engine.score import ERROR, RIGHT, TIMEOUT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers
from engine.score.first_order.prover import ENTAILED, INCONSISTENT, REFUTED, UNKNOWN, Clash, GaveUp, Prover, arities, require
from engine.score.first_order.syntax import Malformed, Node, parse
from engine.score.json_text import fenced

# no "yes" and "no": both are common words beside a label
LABELS = {ENTAILED: ("true", "entailed"), REFUTED: ("false", "refuted"), UNKNOWN: ("unknown", "uncertain")}
NUMBERED = re.compile(r"^\s*(?:\(?\d+[.):]|[*•])\s+")  # a list's mark before a step


class LogicParams(Params):
    answer: Literal["label", "formula", "steps"] = Field(
        "label",
        description="what an answer gives: whether the prompt's conclusion holds, a formula that must follow, or steps that must",
    )
    premises: str = Field("premises", description="key of prompts.meta with the premises: a list of formulas, or one a line")
    conclusion: str = Field("conclusion", description="key of prompts.meta with the formula that is asked about")
    labels: dict[str, list[str]] = Field(
        {key: list(words) for key, words in LABELS.items()},
        description="words of an answer for each of entailed, refuted and unknown, case left out",
    )
    closed_world: bool = Field(False, description="what does not follow is false (ProofWriter): unknown counts as refuted")
    equivalent: bool = Field(False, description="formula: it must also entail the prompt's conclusion (with the premises)")
    steps: int = Field(2_000_000, gt=0, description="work of the prover on one question, in its own units")
    seconds: float = Field(10.0, gt=0, description="of one question, if its steps have not ended it before")

    @field_validator("labels")
    @classmethod
    def _complete(cls, labels: dict[str, list[str]]) -> dict[str, list[str]]:
        unknown = sorted(set(labels) - set(LABELS))
        words = [word.casefold() for given in labels.values() for word in given]
        if unknown or not labels or len(set(words)) < len(words) or not all(words):
            raise ValueError(f"labels have words, each once, for some of {', '.join(LABELS)}")
        return labels


@verifiers.register("logic")
class Logic(Verifier):
    """right 1.0, wrong 0.0; unparseable 0.0 where the answer has no label or its formula cannot be read; timeout 0.0 where the prover
    gives up; error 0.0 where the premises cannot be read or contradict one another.

    label: the last of `labels`' words in the answer is compared with what the prover says. formula: the answer's last line (of its
    last fenced block, if any). steps: each line there must follow from the premises and the lines before it, and the last one
    must settle the prompt's conclusion, if the prompt has one. Needs the package z3-solver (`pip install 'rondo[logic]'`).
    """

    Params = LogicParams
    references = False

    def __init__(self, params: LogicParams) -> None:
        super().__init__(params)
        require()
        self.prover = Prover(params.steps, params.seconds)
        self.words = {word.casefold(): status for status, words in params.labels.items() for word in words}
        self.pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(self.words, key=len, reverse=True)))})(?!\w)", re.IGNORECASE)
        # siblings ask the same
        self._status = lru_cache(maxsize=4096)(self.prover.status)
        self._satisfiable = lru_cache(maxsize=4096)(self.prover.satisfiable)

    def fields(self) -> tuple[str, ...]:
        """Premises and conclusion."""
        return (self.params.premises, self.params.conclusion)

    def verify(self, answer: Answer) -> Verdict:
        try:
            premises = formulas(answer.meta.get(self.params.premises), self.params.premises)
            asked = answer.meta.get(self.params.conclusion)
            conclusion = None if asked is None else parse(str(asked))
            if conclusion is None and (self.params.answer == "label" or self.params.equivalent):
                raise Malformed(f"the prompt has no {self.params.conclusion!r}")
            arities([*premises, *([conclusion] if conclusion else [])])
        except (Malformed, Clash) as error:
            return Verdict(0.0, ERROR, str(error))
        try:
            if self.params.answer == "label":
                assert conclusion is not None
                return self._label(answer.response, premises, conclusion)
            if not self._satisfiable(premises):
                return Verdict(0.0, ERROR, "the premises contradict one another")
            lines = written(answer.response)
            if not lines:
                return Verdict(0.0, UNPARSEABLE, "there is no formula")
            if self.params.answer == "formula":
                return self._formula(parse(lines[-1]), premises, conclusion)
            return self._steps([parse(line) for line in lines], lines, premises, conclusion)
        except (Malformed, Clash) as error:
            return Verdict(0.0, UNPARSEABLE, str(error))
        except GaveUp as error:
            return Verdict(0.0, TIMEOUT, str(error))

    def _label(self, response: str, premises: tuple[Node, ...], conclusion: Node) -> Verdict:
        status = self._status(premises, conclusion)
        if status == INCONSISTENT:
            return Verdict(0.0, ERROR, "the premises contradict one another")
        if self.params.closed_world and status == UNKNOWN:
            status = REFUTED
        said = self.pattern.findall(response)
        if not said:
            return Verdict(0.0, UNPARSEABLE, f"none of the words {', '.join(sorted(self.words))}")
        if self.words[said[-1].casefold()] == status:
            return Verdict(1.0, RIGHT)
        return Verdict(0.0, WRONG, f"the answer says {said[-1]}, and the conclusion is {status}")

    def _formula(self, found: Node, premises: tuple[Node, ...], conclusion: Node | None) -> Verdict:
        # a Clash with the conclusion too: a name that is used in another way than the prompt uses it
        arities([*premises, found, *([conclusion] if conclusion else [])])
        if not self.prover.follows(premises, found):
            return Verdict(0.0, WRONG, "it does not follow from the premises")
        if self.params.equivalent and conclusion is not None and not self.prover.follows([*premises, found], conclusion):
            return Verdict(0.0, WRONG, "it follows, and says less than the conclusion")
        return Verdict(1.0, RIGHT)

    def _steps(self, steps: list[Node], lines: list[str], premises: tuple[Node, ...], conclusion: Node | None) -> Verdict:
        arities([*premises, *steps, *([conclusion] if conclusion else [])])
        known = list(premises)
        for number, (step, line) in enumerate(zip(steps, lines, strict=True), 1):
            if not self.prover.follows(known, step):
                return Verdict(0.0, WRONG, f"step {number} does not follow from what stands before it: {line[:80]}")
            known.append(step)
        if conclusion is not None and self._status((steps[-1],), conclusion) not in (ENTAILED, REFUTED):
            return Verdict(0.0, WRONG, f"every step follows, and the last does not settle the conclusion: {lines[-1][:80]}")
        return Verdict(1.0, RIGHT)


def formulas(given: Any, field: str) -> tuple[Node, ...]:
    """The premises of a prompt. Malformed where there are none, or one is no formula."""
    lines = given.splitlines() if isinstance(given, str) else given
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise Malformed(f"the prompt has no {field!r}, where its premises should be: a list of formulas, or one a line")
    return tuple(parse(line) for line in lines if line.strip())


def written(response: str) -> list[str]:
    """The lines of an answer's last fenced block, else of the answer, without list marks; a step's reason after ';' or '#' is cut."""
    blocks = fenced(response)
    text = blocks[-1] if blocks else response
    lines = (re.split(r"[;#]", NUMBERED.sub("", line), maxsplit=1)[0].strip().rstrip(".") for line in text.splitlines())
    return [line for line in lines if line]
