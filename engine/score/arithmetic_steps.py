"""Is every equation of the worked solution true? Catches right answers that wrong reasoning reached by luck."""

from __future__ import annotations

import re
from fractions import Fraction

from pydantic import Field

from engine.score import RIGHT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers
from engine.score.arithmetic import Equation, compute, equations

# a solution in its plainest form is read some twenty times faster than by tokens: ' 18+5=23. 23-6=17. Answer: 17'
_SIMPLE = re.compile(r"\s*(?:\d+[-+*/]\d+=\d+\. )+(?:[A-Za-z]+: )?(?:\d+)?\.?\s*")
_STEP = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")


def _simple(text: str) -> Verdict | None:
    """The verdict on a `text` in the plain form; None where it is in another."""
    if not _SIMPLE.fullmatch(text):
        return None
    for step, (left, sign, right, result) in enumerate(_STEP.findall(text), 1):
        a, b, c = int(left), int(right), int(result)
        plain = {"+": a + b, "-": a - b, "*": a * b}
        found: Fraction | int | None = plain[sign] if sign in plain else Fraction(a, b) if b else None
        if found != c:
            return _false(step, f"{left}{sign}{right}={result}", found)
    return Verdict(1.0, RIGHT)


def _false(step: int, equation: str, right: Fraction | int | None) -> Verdict:
    return Verdict(0.0, WRONG, f"step {step}: {equation} is false" + (f", {right} is right" if right is not None else ""))


class ArithmeticParams(Params):
    require_steps: bool = Field(True, description="an answer without any equation is unparseable, not right")
    tolerance: float = Field(0.0, ge=0, description="largest difference of both sides; 0 is exact, so 10/3=3.33 is false")


@verifiers.register("arithmetic_steps")
class ArithmeticSteps(Verifier):
    """right 1.0 when every `a op b = c` is true; else wrong 0.0 with the first false one in `detail`. Needs no reference."""

    references = False
    Params = ArithmeticParams

    def __init__(self, params: ArithmeticParams) -> None:
        super().__init__(params)
        self._tolerance = Fraction(params.tolerance)

    def verify(self, answer: Answer) -> Verdict:
        response = answer.response
        simple = None if self._tolerance else _simple(response)
        if simple is not None:
            return simple
        steps = 0
        for equation in equations(response):
            steps += 1
            if not self._true(equation):
                return _false(steps, str(equation), compute(equation.left))
        if not steps and self.params.require_steps:
            return Verdict(0.0, UNPARSEABLE, "no step of the form a+b=c")
        return Verdict(1.0, RIGHT)

    def _true(self, equation: Equation) -> bool:
        left, right = compute(equation.left), compute(equation.right)
        if left is None or right is None:
            return False
        # '=100%' may mean 1 or, after a product of percents, 100
        scaled = right * 100 if equation.right[-1].text.endswith("%") else right
        return min(abs(left - right), abs(left - scaled)) <= self._tolerance
