"""Does the answer follow the instructions of its prompt that a rule can check?"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from engine.errors import SpecError
from engine.score import ERROR, RIGHT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers
from engine.score.constraint import Instruction, build
from engine.score.constraint.text import Text

KEPT = 16384


class ConstraintsParams(Params):
    mode: Literal["strict", "loose"] = Field("strict", description="loose: lines and asterisks around the answer may be left out")
    value: Literal["all", "share"] = Field("all", description="all: 1 where every instruction is followed; share: share followed")
    instructions: str = Field("instruction_id_list", min_length=1, description="key of prompts.meta with the names of instructions")
    arguments: str = Field("kwargs", min_length=1, description="key of prompts.meta with an object of arguments for each of them")
    literal: bool = Field(False, description="keywords and markers are plain text, not regular expressions as in IFEval's code")


@verifiers.register("constraints")
class Constraints(Verifier):
    """right where every instruction is followed, else wrong with what was found for each; unparseable 0.0 for an empty answer.

    The instructions of IFEval (Zhou et al. 2023, arXiv 2311.07911), see engine/score/constraint; rows as its data files have
    them. `strict` looks at the answer as it is. In `loose` an instruction is followed where one of eight texts follows it: the
    answer without its first line, its last line, both or neither, each with and without its asterisks. `value: all` gives what
    averages to IFEval's prompt-level accuracy; `share` is the share of the prompt's instructions that are followed. error 0.0
    for an unknown instruction or for arguments that it lacks or cannot use.
    """

    references = False
    Params = ConstraintsParams

    def __init__(self, params: ConstraintsParams) -> None:
        super().__init__(params)
        self._built: dict[tuple[str, str], Instruction] = {}

    def fields(self) -> tuple[str, ...]:
        return (self.params.instructions, self.params.arguments)

    def verify(self, answer: Answer) -> Verdict:
        try:
            wanted = self._wanted(answer)
        except SpecError as error:
            return Verdict(0.0, ERROR, f"{error.message} ({error.hint})" if error.hint else error.message)
        if not answer.response.strip():
            return Verdict(0.0, UNPARSEABLE, "the answer is empty")
        text, others, failures = Text(answer.response), list[Text](), list[str]()
        for name, instruction in wanted:
            failure = instruction.failure(text)
            if failure is not None and self.params.mode == "loose":
                others = others or variants(answer.response)
                if any(instruction.failure(other) is None for other in others):
                    failure = None
            if failure is not None:
                failures.append(f"{name}: {failure}")
        if not failures:
            return Verdict(1.0, RIGHT)
        value = (len(wanted) - len(failures)) / len(wanted) if self.params.value == "share" else 0.0
        return Verdict(value, WRONG, "; ".join(failures))

    def _wanted(self, answer: Answer) -> list[tuple[str, Instruction]]:
        """The prompt's instructions by name. SpecError where it has none, or where one cannot be checked."""
        names, arguments = (answer.meta.get(key) for key in self.fields())
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise SpecError(f"prompts.meta: expected a list of names of instructions at {self.params.instructions!r}, found {_seen(names)}")
        if arguments is None:
            arguments = [None] * len(names)
        if not isinstance(arguments, list) or len(arguments) != len(names):
            raise SpecError(
                f"prompts.meta: expected a list of {len(names)} objects at {self.params.arguments!r}, one for each instruction, "
                f"found {_seen(arguments)}"
            )
        return [(name, self._instruction(name, given)) for name, given in zip(names, arguments, strict=True)]

    def _instruction(self, name: str, given: Any) -> Instruction:
        """One instruction; the last ones are kept, since every answer to a prompt asks for the same."""
        key = (name, repr(given))
        found = self._built.get(key)
        if found is None:
            if len(self._built) >= KEPT:
                self._built.clear()
            found = self._built[key] = build(name, given, self.params.literal)
        return found


def variants(response: str) -> list[Text]:
    """What `loose` looks at beside the answer itself: without its first line, last line, both; all of them without asterisks."""
    lines = response.split("\n")
    cut = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    texts = dict.fromkeys([*cut, *(text.replace("*", "") for text in cut)])
    return [Text(text) for text in texts if text != response and text.strip()]


def _seen(value: Any) -> str:
    return "nothing" if value is None else f"{json.dumps(value)[:80]}"
