"""The program of an answer: code of its own, or text that continues the prompt's code, as HumanEval's completions do."""

from __future__ import annotations

import ast
import re
import textwrap
from typing import NamedTuple

from engine.score.code.blocks import blocks
from engine.score.code.syntax import defined, parsed

# where the code of a prompt may begin
_STARTS = re.compile(r"(?:from|import|def|async def|class)\s|@\w")
_STUB = "    pass\n"


class Assembled(NamedTuple):
    """The code to run, and what both it and its tests need (the prompt's imports and helpers)."""

    code: str
    setup: str


def prompt_code(text: str, entry: str) -> str | None:
    """The code in a prompt's text that begins the function `entry`: a fenced block, the whole text, or its last lines."""
    lines = text.splitlines(keepends=True)
    tails = ["".join(lines[index:]) for index, line in enumerate(lines) if _STARTS.match(line)]
    for candidate in (*(block.code for block in reversed(blocks(text))), text, *tails):
        if _whole(candidate, entry) is not None:
            return candidate
    return None


def assemble(answer: str, prompt: str | None, entry: str) -> Assembled | None:
    """The program for an answer's code. None for a program of its own that does not define `entry`.

    Code that defines `entry` runs as it is, with the prompt's imports and helpers as setup. Else it is put behind the prompt:
    as it is; with the indentation given back that its first line, or all of them, lost; or cut at the first line that stands
    at the margin again (human-eval cuts there by stop words). The first that is Python and gives the function a body counts.
    """
    own, setup = parsed(answer), helpers(prompt, entry) if prompt else ""
    if own is not None:  # a body with its indentation, or with a `return`, is no program of its own
        return Assembled(answer, setup) if entry in defined(own) else None
    if prompt is None:
        return Assembled(answer, "")
    for body in _continuations(answer):
        tree = parsed(prompt + body)
        if tree is not None and _filled(tree, prompt, entry):
            return Assembled(prompt + body, setup)
    return Assembled(prompt + answer, setup)


def helpers(prompt: str, entry: str) -> str:
    """The prompt's code without the function `entry`: imports, constants, helpers."""
    tree = _whole(prompt, entry)
    if tree is None:
        return ""
    return ast.unparse(ast.Module([node for node in tree.body if not _named(node, entry)], []))


def _continuations(answer: str) -> list[str]:
    text = answer.strip("\n")
    first, _, rest = text.partition("\n")
    found = [answer, f"    {first.lstrip()}\n{rest}", textwrap.indent(textwrap.dedent(text), "    ")]
    lines = text.splitlines(keepends=True)
    ends = next((index for index, line in enumerate(lines) if index and line.strip() and not line[0].isspace()), None)
    if ends is not None:
        cut = "".join(lines[:ends])
        found += [cut, f"    {cut.lstrip()}"]
    # a prompt may end at once behind its docstring
    return [piece for body in found for piece in (body, f"\n{body}")]


def _filled(tree: ast.Module, prompt: str, entry: str) -> bool:
    """Whether the function has more statements than the prompt gave it."""
    before = parsed(prompt)
    given = _statements(before, entry) if before is not None else 0
    return _statements(tree, entry) > given


def _statements(tree: ast.Module, entry: str) -> int:
    return next((len(node.body) for node in reversed(tree.body) if _named(node, entry)), 0)  # type: ignore[attr-defined]


def _named(node: ast.stmt, entry: str) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == entry


def _whole(prompt: str, entry: str) -> ast.Module | None:
    """The tree of a prompt's code; a prompt that ends with the head of its function gets a body."""
    for text in (prompt, prompt.rstrip() + "\n" + _STUB):
        tree = parsed(text)
        if tree is not None and any(_named(node, entry) for node in tree.body):
            return tree
    return None
