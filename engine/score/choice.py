"""Multiple choice: is the letter that the answer settles on, or the option whose text it gives, that of the reference?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from engine.errors import SpecError
from engine.score import ERROR, RIGHT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers

_LATEX = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|boldsymbol|mathsf)\s*\{")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_SAID = re.compile(
    r"(?:\b(?:answer|choice|option)\b[\s*_]*(?:\b(?:is|are|would\s+be|should\s+be|must\s+be)\b\s*(?:(?:therefore|thus|clearly|indeed|"
    r"probably|most\s+likely)\b\s*)?:?|[:=])|\b(?:choose|pick|select|go\s+with)\b|####)(?=([^\n]*))",
    re.IGNORECASE,
)
_OPEN, _CLOSE = r"[\s*_\"'“‘(\[{$:]*", r"(?=[\s*_\"'”’)\]}$.,:;!?/&–—-]|$)"

# what makes a label the subject of a clause of its own: "B, and A is wrong"
_VERB = r"[\s)*_]+(?:is|was|are|were|has|does|would|can|cannot|seems)\b"


class Labels(NamedTuple):
    """Regular expressions that find the labels of a question's options."""

    leading: re.Pattern[str]  # the label that a text starts with
    further: re.Pattern[str]  # another one named beside it
    line: re.Pattern[str]  # the label that a line starts with, as in "B." or "(B)"
    inline: re.Pattern[str]  # a label in parentheses, or in asterisks
    correct: re.Pattern[str]  # "B is correct"


@lru_cache(maxsize=256)
def _labels(labels: tuple[str, ...]) -> Labels:
    one = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    # a small letter counts only where a parenthesis marks it: "a" is an article
    small = rf"(?:(?P<label>{one}){_CLOSE}|(?P<small>(?i:{one}))(?=\)))"
    return Labels(
        leading=re.compile(rf"{_OPEN}(?:(?i:option|choice|letter)\b{_OPEN})?{small}"),
        further=re.compile(
            rf"[\s*_\"'”’)\]}}$.]*(?:,|/|&|\b(?:or|and)\b)+(?:\s*(?:or|and)\b)?\s*(?:(?i:option|choice)\b)?{_OPEN}{small}(?!{_VERB})"
        ),
        line=re.compile(rf"^[ \t*_>#-]*\(?(?P<label>{one})(?:\*\*|__)?(?:[).:](?=\s|\*|_|$)(?!{_VERB})|[ \t]*$)", re.MULTILINE),
        inline=re.compile(rf"\((?P<label>{one})\)|\*\*(?P<bold>{one})[.):]?\*\*"),
        correct=re.compile(rf"(?<![\w'])\(?(?P<label>{one})\)?[\s*_]+is\s+(?:the\s+)?(?:correct|right|best)\b"),
    )


class ChoiceParams(Params):
    letters: str = Field("ABCD", min_length=2, description="the labels of the options, in order; as many as there are options count")
    options: str | None = Field(
        None,
        description="key of prompts.meta with the options: a list of texts, an object of texts by label, or one with `label` and `text`",
    )
    index: bool = Field(False, description="the reference is the number of the option, from 0")
    several: Literal["last", "unparseable"] = Field("last", description="what counts where an answer states different options in turn")

    @field_validator("letters")
    @classmethod
    def _different(cls, letters: str) -> str:
        if len(set(letters)) < len(letters) or not letters.isalnum():
            raise ValueError("expected different letters or digits, such as ABCD")
        return letters


@verifiers.register("choice")
class Choice(Verifier):
    r"""right 1.0, wrong 0.0; unparseable 0.0 where the answer settles on no option, or on two at once.

    What is looked at, until something is found: what the answer states (`\boxed{B}`, `the answer is (B)`, `Answer: B`, `#### B`,
    `B is correct`; the last of them, or none where they differ and `several` says so); the label that lines start with (`B.`,
    `(B) Paris`, `B`); a label in parentheses or bold; the text of an option. "A or B", and different labels at the last three,
    are ambiguous. A statement may give an option's text in place of its label.
    """

    extracts = True
    Params = ChoiceParams

    def fields(self) -> tuple[str, ...]:
        return (self.params.options,) if self.params.options else ()

    def verify(self, answer: Answer) -> Verdict:
        try:
            options = self._options(answer.meta)
            wanted = self._wanted(answer.reference, options)
        except SpecError as error:
            return Verdict(0.0, ERROR, error.message)
        found = settled(answer.response, options, self.params.several)
        if not found:
            return Verdict(0.0, UNPARSEABLE, "no option found")
        if len(found) > 1:
            return Verdict(0.0, UNPARSEABLE, f"ambiguous: found {', '.join(sorted(found))}")
        (label,) = found
        return Verdict(1.0, RIGHT) if label == wanted else Verdict(0.0, WRONG, f"found {label}, expected {wanted}")

    def final(self, answer: Answer) -> str | None:
        """The label that the answer settles on; None where there are several, or the prompt's options cannot be read."""
        try:
            found = settled(answer.response, self._options(answer.meta), self.params.several)
        except SpecError:
            return None
        return min(found) if len(found) == 1 else None

    def _options(self, meta: Mapping[str, Any]) -> dict[str, str]:
        """The texts of the options by label, empty texts where the rows have none."""
        key, letters = self.params.options, self.params.letters
        if key is None:
            return dict.fromkeys(letters, "")
        given = meta.get(key)
        if isinstance(given, dict) and given.keys() >= {"label", "text"}:
            pairs = list(zip(given["label"], given["text"], strict=False))
            whole = len(given["label"]) == len(given["text"])
        elif isinstance(given, dict):
            pairs, whole = list(given.items()), True
        else:
            pairs = list(zip(letters, given, strict=False)) if isinstance(given, list) else []
            whole = isinstance(given, list) and len(given) <= len(letters)
        if not whole or len(pairs) < 2 or len(dict(pairs)) < len(pairs):
            raise SpecError(f"prompts.meta: expected 2 to {len(letters)} options at {key!r} (params: letters), found {given!r:.80}")
        return {str(label): str(text) for label, text in pairs}

    def _wanted(self, reference: str | None, options: dict[str, str]) -> str:
        """The label of the right option."""
        text = (reference or "").strip()
        if self.params.index and text.isdecimal() and int(text) < len(options):
            return list(options)[int(text)]
        if not self.params.index:
            plain = text.strip("().")
            same = [label for label, option in options.items() if option and _plain(option) == _plain(text)]
            if plain in options or len(same) == 1:
                return plain if plain in options else same[0]
        kind = f"a number below {len(options)}" if self.params.index else f"one of {', '.join(options)} or the text of an option"
        raise SpecError(f"expected the reference to be {kind}, found {reference!r:.80}")


def settled(response: str, options: Mapping[str, str], several: str) -> set[str]:
    """The labels of the options that an answer settles on: one, none, or those that it cannot decide between."""
    response = _LATEX.sub("{", response)
    labels = _labels(tuple(options))
    stated = [found for _, found in sorted(_statements(response, labels, options), key=lambda pair: pair[0]) if found]
    if stated:
        return stated[-1] if several == "last" else set[str]().union(*stated)
    lines = {match["label"] for match in labels.line.finditer(response)}
    if lines:
        return lines
    inline = {match["label"] or match["bold"] for match in labels.inline.finditer(response)}
    return inline or _texts(response, options)


def _statements(response: str, labels: Labels, options: Mapping[str, str]) -> list[tuple[int, set[str]]]:
    """Where an answer states its choice, and which labels it names there."""
    found = [(match.start(), _named(match[1], labels, options)) for match in _SAID.finditer(response)]
    found += [(match.start(), _named(match[1], labels, options)) for match in _BOXED.finditer(response)]
    return found + [(match.start(), {match["label"]}) for match in labels.correct.finditer(response)]


def _named(text: str, labels: Labels, options: Mapping[str, str]) -> set[str]:
    """The labels that a statement starts with, or that of the option whose text it starts with."""
    found, match = set[str](), labels.leading.match(text)
    while match:
        own = match["label"] or match["small"]
        found.add(own if own in options else next(label for label in options if label.lower() == own.lower()))
        match = labels.further.match(text, match.end())
    if found:
        return found
    plain = _plain(text)
    starts = [label for label, option in options.items() if option and re.match(rf"{re.escape(_plain(option))}(?!\w)", plain)]
    return {max(starts, key=lambda label: len(options[label]))} if starts else set()


def _texts(response: str, options: Mapping[str, str]) -> set[str]:
    """The options whose text occurs, less those that are only part of a longer one that occurs."""
    plain, found = _plain(response), set[str]()
    by_length = sorted(((_plain(option), label) for label, option in options.items()), key=lambda pair: (-len(pair[0]), pair[1]))
    for option, label in by_length:
        if option and (pattern := re.compile(rf"(?<!\w){re.escape(option)}(?!\w)")).search(plain):
            found.add(label)
            plain = pattern.sub(" ", plain)
    return found


def _plain(text: str) -> str:
    """Without case, markup around it, and differences of white space."""
    return " ".join(text.replace("*", " ").replace("$", " ").casefold().split()).strip(" .,:;!?\"'“”()[]{}")
