"""The SQL expression of the combined score: the columns and macros that it names, and whether it looks at other answers.

It may name every scorer's column, for each of them `verdict_<name>` and `detail_<name>`, of the answer what GENERATIONS lists, of
its prompt what PROMPTS lists, and the ids. What it does not name is not read. A scorer hides another column of its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.errors import QueryError, SpecError
from engine.registry import nearest
from engine.spec import Spec

ITEM = "generation_id"
IDS = {ITEM: "VARCHAR", "prompt_id": "VARCHAR"}
# characters: Unicode code points of the response
GENERATIONS = {"response_tokens": "BIGINT", "characters": "BIGINT", "finish_reason": "VARCHAR", "logprob": "DOUBLE"}
PROMPTS = {"difficulty": "DOUBLE", "meta": "VARCHAR"}
SAID = ("verdict", "detail")


@dataclass(frozen=True)
class Expression:
    """`text` over the columns that `scorers` fill."""

    text: str
    scorers: tuple[str, ...]

    @classmethod
    def of(cls, spec: Spec, part: str = "rollout") -> Expression:
        """That of a spec for a part of generations; where it has none, its only scorer."""
        from engine.score import columns

        own = spec.evaluate.combine if part == "eval" else None
        return cls(own or spec.combine or f'"{spec.score[0].column}"', tuple(columns(spec)))

    @property
    def query(self) -> str:
        """The SELECT over `wide` that computes it."""
        # the line breaks keep a comment at the end of the expression from hiding the bracket
        return f"select {ITEM}, (\n{self.text}\n) as value from wide"

    @property
    def columns(self) -> dict[str, str]:
        """The SQL type of every column that it may name."""
        said = {f"{kind}_{name}": "VARCHAR" for name in self.scorers for kind in SAID}
        return {**IDS, **GENERATIONS, **PROMPTS, **said, **dict.fromkeys(self.scorers, "DOUBLE")}

    @cached_property
    def names(self) -> frozenset[str]:
        """The columns that it names. SpecError for a text that is not one expression, row by row or over windows."""
        named = {part.lower() for node in self._nodes() if node.get("class") == "COLUMN_REF" for part in node["column_names"]}
        return frozenset(named & set(self.columns))

    @property
    def of_generations(self) -> list[str]:
        """The columns of the answer that it names."""
        return [name for name in GENERATIONS if name in self.names and name not in self.scorers]

    @property
    def of_prompts(self) -> list[str]:
        """The columns of the prompt that it names."""
        return [name for name in PROMPTS if name in self.names and name not in self.scorers]

    @property
    def said(self) -> dict[str, tuple[str, str]]:
        """verdict_<name> and detail_<name> that it names, with (verdict or detail, the scorer)."""
        known = {f"{kind}_{name}": (kind, name) for name in self.scorers for kind in SAID}
        return {name: of for name, of in known.items() if name in self.names and name not in self.scorers}

    @property
    def window(self) -> str | None:
        """What in it looks at other answers than the row's own: a macro, or a function over a window. None where nothing does."""
        from engine import macros
        from engine.views import nodes_of, tree_of

        for node in self._nodes():
            if node.get("class") == "WINDOW":
                return f"{node['function_name']}() over a window"
        for name in macros.called(self.text):
            if any(node.get("class") == "WINDOW" for node in nodes_of(tree_of(f"select {macros.body(name)}"))):
                return f"{name}()"
        return None

    @property
    def macros(self) -> dict[str, str]:
        """The macros that it calls, as text without comments."""
        from engine import macros
        from engine.views import stripped

        return {name: stripped(macros.text(name)) for name in macros.called(self.text)}

    def settings(self) -> dict[str, Any]:
        """JSON for the fingerprint of a step whose rows depend on it; the scorers that it names have versions of their own."""
        return {"combine": self.text} | ({"macros": self.macros} if self.macros else {})

    def require_stable(self) -> None:
        """SpecError where it draws, asks for the time, reads other tables, or names no column in particular."""
        from engine.sqlfile import CHANGING

        for node in self._nodes():
            name = str(node.get("function_name", "")).lower()
            if node.get("class") == "COLUMN_REF" and node["column_names"][0].lower().startswith("current_"):
                name = node["column_names"][0].lower()  # current_date is parsed as a column
            if name and CHANGING.fullmatch(name):
                raise SpecError(f"combine: {name!r} gives something else at every run: {self.text!r}")
            if node.get("class") == "SUBQUERY":
                hint = "a window looks at other answers, such as max(x) over (partition by prompt_id)"
                raise SpecError(f"combine: a SELECT inside the expression: {self.text!r}", hint=hint)
            if node.get("class") == "STAR":
                raise SpecError(f"combine: a star in {self.text!r}", hint=f"name the columns: {', '.join(self.scorers)}")

    def unknown(self, name: str) -> str:
        """What to do about a column that does not exist."""
        close = nearest(name, list(self.columns))
        return close if close.startswith("did") else f"allowed: {', '.join([*self.scorers, *GENERATIONS, *PROMPTS])}"

    def _nodes(self) -> Iterator[dict[str, Any]]:
        """The nodes of its syntax tree."""
        from engine.views import nodes_of, tree_of

        hint = f"an expression over {', '.join(self.scorers)}"
        try:
            statements = tree_of(self.query)["statements"]
        except QueryError as error:
            raise SpecError(f"combine: {error.message.strip()}, in {self.text!r}", hint=hint) from error
        chosen = statements[0]["node"].get("select_list", []) if len(statements) == 1 else []
        if len(chosen) != 2:
            raise SpecError(f"combine: expected one expression, found {len(chosen) - 1 if chosen else 'several'}: {self.text!r}", hint=hint)
        return nodes_of(chosen[1])
