"""The instruction that names the language of the whole answer."""

from __future__ import annotations

from pydantic import Field, field_validator

from engine.registry import nearest
from engine.score.constraint import Instruction, detector, instruction
from engine.score.constraint.text import Text


@instruction("language:response_language")
class ResponseLanguage(Instruction):
    """The answer is in this language as a whole. One without a letter follows, as in IFEval's code.

    IFEval asks another detector, see engine/score/constraint/detector.py.
    """

    language: str = Field(..., description="ISO 639-1 code; of one with a region, such as zh-cn, the language counts")

    @field_validator("language")
    @classmethod
    def _known(cls, language: str) -> str:
        code = language.lower().split("-")[0]
        if code not in detector.names():
            raise ValueError(f"no language of this code can be told apart; {nearest(code, list(detector.names()))}")
        return code

    def failure(self, text: Text) -> str | None:
        found, names = text.language, detector.names()
        if found is None or found == self.language:
            return None
        return f"found {names[found]}, expected {names[self.language]}"
