"""Instructions that shape the answer as a whole."""

from __future__ import annotations

from pydantic import Field

from engine.score.constraint import Instruction, instruction
from engine.score.constraint.text import Text


@instruction("combination:two_responses")
class TwoResponses(Instruction):
    """Two different responses, cut at ******; only the first and the last part may be empty."""

    def failure(self, text: Text) -> str | None:
        parts = [part.strip() for part in text.plain.split("******")]
        if not all(parts[1:-1]):
            return "an empty response between two ******"
        given = [part for part in parts if part]
        if len(given) != 2:
            return f"found {len(given)} responses between ******, expected 2"
        return "the two responses are the same" if given[0] == given[1] else None


@instruction("combination:repeat_prompt")
class RepeatPrompt(Instruction):
    """The answer starts with the request, word for word; case does not count."""

    prompt_to_repeat: str = Field(..., min_length=1, description="the request, without the sentence that asks for the repetition")

    def failure(self, text: Text) -> str | None:
        if text.plain.strip().lower().startswith(self.prompt_to_repeat.strip().lower()):
            return None
        return f"starts with {text.plain.strip()[:40]!r}, expected {self.prompt_to_repeat.strip()[:40]!r}"
