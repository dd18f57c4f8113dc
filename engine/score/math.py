"""Mathematics: is the final answer equal to the reference? Plain numbers exactly and fast, everything else by math-verify."""

from __future__ import annotations

import re

from pydantic import Field

from engine.score import ERROR, RIGHT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers
from engine.score.latex import Comparer
from engine.score.plain import equal, final, last, leading, whole

# no word of two letters: not a sentence
_ALGEBRA = re.compile(r"(?!.*[A-Za-z]{2})[-\w\s+*/^().,=\[\]{}]+")


class MathParams(Params):
    timeout: float = Field(5.0, gt=0, description="seconds that one LaTeX comparison may take")
    decimals: int = Field(6, ge=1, le=15, description="places to which a decimal must agree with a fraction")


@verifiers.register("math")
class Math(Verifier):
    """right 1.0; wrong, unparseable, timeout and error 0.0.

    The final answer is what the last `####`, `\\boxed{}` or 'answer is' marks, else the last number. Money and percent
    signs, thousands separators and units around a number are allowed. Where either side is more than a plain number,
    math-verify compares, in a child process that is killed when it takes too long.
    """

    batch = 1024
    extracts = True
    Params = MathParams

    def __init__(self, params: MathParams) -> None:
        super().__init__(params)
        self._comparer = Comparer(params.timeout)

    def verify(self, answer: Answer) -> Verdict:
        response, reference = answer.response, answer.reference
        if reference is None or not reference.strip():
            return Verdict(0.0, ERROR, "there is no reference to compare with")
        wanted = whole(reference)
        marked = final(response)
        if wanted is not None:
            if marked is None:
                found = last(response)
                if found is None:
                    return Verdict(0.0, UNPARSEABLE, "no answer found")
            else:
                found = whole(marked.text) if marked.boxed else leading(marked.text)
            if found is not None:
                if equal(found, wanted, self.params.decimals):
                    return Verdict(1.0, RIGHT)
                return Verdict(0.0, WRONG, f"found {found.value}, expected {reference.strip()}")
        text = response
        if marked is not None:
            text = f"\\boxed{{{marked.text}}}" if marked.boxed else _marked_text(marked.text)
        verdict, detail = self._comparer.compare(reference, text)
        return Verdict(1.0 if verdict == RIGHT else 0.0, verdict, detail)

    def final(self, answer: Answer) -> str | None:
        """A number as a reduced fraction, its percent sign kept; anything else that is marked as its text without blanks."""
        marked = final(answer.response)
        found = last(answer.response) if marked is None else whole(marked.text) if marked.boxed else leading(marked.text)
        if found is not None:
            return f"{found.value}%" if found.percent else str(found.value)
        return None if marked is None else "".join(marked.text.split()).strip("$.") or None

    def close(self) -> None:
        self._comparer.close()


def _marked_text(text: str) -> str:
    """LaTeX and algebra without dollars would be read only up to their first number."""
    if any(mark in text for mark in ("$", "\\(", "\\[", "\\boxed")):
        return text
    return f"${text.rstrip('.')}$" if "\\" in text or _ALGEBRA.fullmatch(text) else text
