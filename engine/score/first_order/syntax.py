"""Formulas of first-order logic as people and data sets write them, read into trees.

FOLIO's `∀x (Cat(x) → Animal(x))`, ASCII `forall x (Cat(x) -> Animal(x))`, NLTK's `all x.(Cat(x) -> Animal(x))`. From tight to loose:
not and quantifiers, and, or and xor, implies (to the right), iff. A quantifier reaches over what stands in brackets behind it, or,
with a dot or colon or without brackets, to the end. A name that no quantifier binds is a constant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

WORDS = {"forall": "∀", "all": "∀", "exists": "∃", "some": "∃", "not": "¬", "and": "∧", "or": "∨", "xor": "⊕", "implies": "→", "iff": "↔"}
SIGNS = dict(zip("~!-&^|", "¬¬¬∧∧∨", strict=True)) | {"&&": "∧", "||": "∨", "/\\": "∧", "\\/": "∨", "!=": "≠", "==": "="}
SIGNS |= dict.fromkeys(("->", "=>", "⇒", "⟶"), "→") | dict.fromkeys(("<->", "<=>", "⇔", "⟷"), "↔") | {":": ".", "[": "(", "]": ")"}
TOKEN = re.compile(r"\s*(<->|<=>|->|=>|!=|==|&&|\|\||/\\|\\/|[∀∃¬∧∨⊕→⇒⟶↔⇔⟷≠~!\-&^|=().,:\[\]]|[^\W]\w*|\S)")
VARIABLE = re.compile(r"[a-z]\d?")
DEEPEST = 60  # brackets and connectives within each other
LONGEST = 10_000  # characters
LOOSE = ("↔",), ("→",), ("∨", "⊕"), ("∧",)


class Malformed(ValueError):
    """A text that is no formula; says where."""


@dataclass(frozen=True)
class Node:
    """A formula or a term. `kind`: ∀ ∃ (name: the variable) ¬ ∧ ∨ ⊕ → ↔ = predicate constant variable function."""

    kind: str
    name: str = ""
    parts: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


def parse(text: str) -> Node:
    """The tree of a formula. Malformed says what was expected, what was found, and where."""
    if len(text) > LONGEST:
        raise Malformed(f"{len(text):,} characters, at most {LONGEST:,} are read")
    reader = _Reader(text)
    found = reader.formula()
    if reader.now:
        reader.fail("expected the end")
    _check_scopes(found, text)
    return found


def _check_scopes(formula: Node, text: str) -> None:
    """A name that is bound in one place and free in another is a bracket in the wrong place, not a constant."""
    bound = {node.name for node in formula.walk() if node.kind in "∀∃"}
    free = sorted({node.name for node in formula.walk() if node.kind == "constant"} & bound)
    if free:
        raise Malformed(f"{free[0]} stands outside of its quantifier in {text[:80]!r}; put brackets around what it reaches over")


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.place, self.depth = text, 0, 0
        self.tokens = [(match[1], match.start(1)) for match in TOKEN.finditer(text)]
        self.scope: list[str] = []

    @property
    def now(self) -> str:
        """The next token in its plain form; '' at the end."""
        if self.place >= len(self.tokens):
            return ""
        token = self.tokens[self.place][0]
        return SIGNS.get(token) or WORDS.get(token.lower()) or token

    def take(self, wanted: str = "") -> str:
        """Goes past the next token, which must be `wanted` if that is given."""
        token = self.now
        if wanted and token != wanted:
            self.fail(f"expected {wanted!r}")
        self.place += 1
        return token

    def fail(self, what: str) -> NoReturn:
        """Malformed, at the next token."""
        at = self.tokens[self.place][1] if self.place < len(self.tokens) else len(self.text)
        raise Malformed(f"{what}, found {self.now or 'the end'!r} at character {at + 1} of {self.text[:80]!r}")

    def formula(self, level: int = 0) -> Node:
        """A formula whose connectives bind as tightly as `level` of LOOSE, or tighter."""
        if level == len(LOOSE):
            return self.tight()
        left = self.formula(level + 1)
        if self.now == "→" and level == 1:
            self.take()
            return Node("→", "", (left, self.deeper(lambda: self.formula(level))))
        depth, chain = self.depth, ""
        while self.now in LOOSE[level]:
            sign = self.take()
            right = self.formula(level + 1)
            if sign == chain:
                left = Node(sign, "", (*left.parts, right))  # a long chain is flat, so that no tree is deep
            else:
                left, self.depth = Node(sign, "", (left, right)), self.depth + 1
                self.shallow()
            chain = sign if sign in "∧∨" else ""
        self.depth = depth
        return left

    def shallow(self) -> None:
        """Malformed where formulas stand too deep within each other."""
        if self.depth > DEEPEST:
            self.fail(f"more than {DEEPEST} levels")

    def deeper(self, inside: Callable[[], Node]) -> Node:
        """What `inside` reads, one level deeper."""
        self.depth += 1
        self.shallow()
        found = inside()
        self.depth -= 1
        return found

    def tight(self) -> Node:
        """A negation, a quantified formula, one in brackets, or an atom."""
        if self.now == "¬":
            self.take()
            return Node("¬", "", (self.deeper(self.tight),))
        if self.now in ("∀", "∃"):
            return self.deeper(self.quantified)
        if self.now == "(":
            self.take()
            found = self.deeper(self.formula)
            self.take(")")
            return found
        return self.atom()

    def quantified(self) -> Node:
        """∀x ..., ∀x, y ... or ∀x y ...."""
        sign, names = self.take(), [self.name("a variable")]
        while self.now == "," or self._is_variable():
            if self.now == ",":
                self.take()
            names.append(self.name("a variable"))
        dot = self.now == "."
        if dot:
            self.take()
        self.scope += names
        body = self.formula() if dot or self.now not in ("(", "¬", "∀", "∃") else self.tight()
        del self.scope[len(self.scope) - len(names) :]
        for name in reversed(names):
            body = Node(sign, name, (body,))
        return body

    def _is_variable(self) -> bool:
        """Whether a second variable comes: a small letter that is not written like y(...)."""
        if not VARIABLE.fullmatch(self.now):
            return False
        token, at = self.tokens[self.place]
        return self.text[at + len(token) : at + len(token) + 1] != "("

    def name(self, what: str) -> str:
        """A name."""
        if not re.fullmatch(r"[^\W]\w*", self.now):
            self.fail(f"expected {what}")
        return self.take()

    def atom(self) -> Node:
        """P, P(a, x), or a = b."""
        name = self.name("a formula")
        parts = self.arguments() if self.now == "(" else ()
        if self.now in ("=", "≠"):
            sign, left = self.take(), self.as_term(name, parts)
            equal = Node("=", "", (left, self.term()))
            return equal if sign == "=" else Node("¬", "", (equal,))
        if not parts and name in self.scope:
            self.fail(f"expected a formula, and {name} is a variable")
        return Node("predicate", name, parts)

    def arguments(self) -> tuple[Node, ...]:
        """Terms in brackets."""
        self.take("(")
        found = [self.deeper(self.term)]
        while self.now == ",":
            self.take()
            found.append(self.deeper(self.term))
        self.take(")")
        return tuple(found)

    def term(self) -> Node:
        """A variable, a constant, or f(...)."""
        name = self.name("a term")
        return self.as_term(name, self.arguments() if self.now == "(" else ())

    def as_term(self, name: str, parts: tuple[Node, ...]) -> Node:
        """The term of a name and its arguments."""
        if parts:
            return Node("function", name, parts)
        return Node("variable" if name in self.scope else "constant", name)
