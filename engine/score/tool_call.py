"""Are the tool calls of an answer ones that the prompt's tools take, and the expected ones?"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from engine.score import ERROR, RIGHT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers
from engine.score.calls import Call, Unreadable
from engine.score.calls.matching import Rules, difference
from engine.score.calls.reading import of_json, python, read
from engine.score.calls.tools import by_name, default_of, trouble
from engine.score.json_text import loads


class ToolCallParams(Params):
    tools: str | None = Field("tools", description="key of prompts.meta with the tools' declarations; none: any call may be made")
    expected: str | None = Field(None, description="key of prompts.meta with the expected calls; none: the reference")
    compare: bool = Field(True, description="compare with the expected calls; false: the tools' schemas alone decide")
    format: Literal["auto", "json", "tags", "python"] = Field(
        "auto", description="how answers write calls: JSON (OpenAI's too), <tool_call> tags, or Python's f(a=1)"
    )
    order: bool = Field(False, description="several calls must come in the expected order")
    strings: Literal["loose", "exact"] = Field("loose", description="loose: without case, blanks and , . / - _ * ^, as BFCL compares")
    tolerance: float = Field(0.0, ge=0, description="relative difference up to which numbers are equal")
    alternatives: bool = Field(False, description='expected arguments are lists of allowed values, with "" may be left out (BFCL)')
    extra: Literal["default", "allow", "forbid"] = Field(
        "default", description="arguments that are not expected: only with their default, any that fit the schema, or none"
    )


@verifiers.register("tool_call")
class ToolCall(Verifier):
    """right 1.0; wrong 0.0 with the first difference; unparseable 0.0 where there is no call; error 0.0 without tools or reference.

    Where no call is expected (an empty list), an answer without one is right. Source: BFCL (Patil et al., "The Berkeley Function
    Calling Leaderboard", ICML 2025), whose check of syntax trees this follows; it differs in that numbers of a list may be of
    either kind and arguments that equal the tool's default may be added.
    """

    Params = ToolCallParams

    def __init__(self, params: ToolCallParams) -> None:
        super().__init__(params)
        self.references = params.compare and params.expected is None

    def fields(self) -> tuple[str, ...]:
        """The tools, and the expected calls where they are not the reference."""
        own = (self.params.tools, self.params.expected if self.params.compare else None)
        return tuple(field for field in own if field is not None)

    def verify(self, answer: Answer) -> Verdict:
        try:
            tools, expected = self._tools(answer), self._expected(answer)
        except ValueError as error:
            return Verdict(0.0, ERROR, str(error))
        try:
            calls = read(answer.response, self.params.format)
        except Unreadable as error:
            return Verdict(0.0, UNPARSEABLE, str(error))
        if not calls and expected != []:
            return Verdict(0.0, UNPARSEABLE, "there is no call")
        try:
            told = next((one for call in calls if (one := trouble(call, tools))), None) if tools is not None else None
        except ValueError as error:
            return Verdict(0.0, ERROR, f"the tools' schemas cannot be used: {error}")
        told = told or (None if expected is None else difference(calls, expected, self._rules(tools or {}), self.params.order))
        return Verdict(0.0, WRONG, told) if told else Verdict(1.0, RIGHT)

    def _rules(self, tools: dict[str, dict[str, Any]]) -> Rules:
        params = self.params
        return Rules(
            lambda name, argument: default_of(name, argument, tools),
            params.strings == "loose",
            params.tolerance,
            params.alternatives,
            params.extra,
        )

    def _tools(self, answer: Answer) -> dict[str, dict[str, Any]] | None:
        if self.params.tools is None:
            return None
        if self.params.tools not in answer.meta:
            raise ValueError(f"the prompt has no {self.params.tools!r}, where its tools should be")
        return by_name(answer.meta[self.params.tools])

    def _expected(self, answer: Answer) -> list[Call] | None:
        """The expected calls; None where none are compared with. ValueError where they are lacking or cannot be read."""
        if not self.params.compare:
            return None
        field = self.params.expected
        given = answer.reference if field is None else answer.meta.get(field)
        if given is None:
            raise ValueError("there is no reference to compare with" if field is None else f"the prompt has no {field!r}")
        try:
            return of_json(loads(given) if isinstance(given, str) else given)
        except ValueError as error:
            calls = python(given) if isinstance(given, str) else []
            if not calls:
                raise ValueError(f"the expected calls cannot be read: {error}") from error
            return calls
