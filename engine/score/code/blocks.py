"""The code of an answer: fenced blocks as Markdown has them, with the slips that models make (unclosed, indented, after a word)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

PYTHON = ("python", "py", "python3", "py3")
SQL = ("sql", "sqlite", "sqlite3", "postgresql", "postgres", "mysql", "duckdb")
Which = Literal["auto", "last", "all", "text"]

_FENCE = re.compile(r"^(?P<before>.*?)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`]*?)[ \t]*$")
# CommonMark: a closing fence stands at most three columns further in; what stands further in is text of the block
_REACH = 3


class Block(NamedTuple):
    """One fenced block: the first word after its fence in lower case (may be empty), and its lines."""

    language: str
    code: str


class _Open(NamedTuple):
    fence: str
    indent: int
    language: str
    lines: list[str]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a text in order. A block that is not closed ends where the next one of its depth opens, or with the text."""
    found: list[Block] = []
    current: _Open | None = None
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if current is None:
            current = _opened(mark) if mark else None
            continue
        ends, opens = _ends(mark, current)
        if mark and _behind_code(mark, current):
            current.lines.append(_outdented(mark["before"], current.indent))
            ends = True
        if not ends:
            current.lines.append(_outdented(line, current.indent))
            continue
        found.append(_closed(current))
        current = _opened(mark) if mark and opens else None
    return found if current is None else [*found, _closed(current)]


def code_of(text: str, languages: Iterable[str], which: Which = "auto", wanted: Callable[[str], bool] | None = None) -> str:
    """The code of an answer.

    Blocks of one of `languages` count; where there is none, every block; where there is none of these either, the text itself.
    `auto` takes the last of them that is `wanted` (defines the function asked for, say), or else the last; `last` the last,
    `all` joins them in order, `text` takes the text as it is.
    """
    if which == "text":
        return text
    found = blocks(text)
    known = set(languages)
    codes = [block.code for block in found if block.language in known] or [block.code for block in found]
    if not codes:
        return text
    if which == "all":
        return "\n\n".join(codes)
    fitting = [code for code in codes if wanted(code)] if wanted and which == "auto" else []
    return (fitting or codes)[-1]


def _opened(mark: re.Match[str]) -> _Open | None:
    before, info = mark["before"], mark["info"]
    # after words only a fence with one word behind it opens a block: 'Here it is: ```python'
    if before.strip() and not re.fullmatch(r"[\w+#.-]+", info):
        return None
    words = info.split()
    language = words[0].strip("{}.").lower() if words else ""
    return _Open(mark["fence"], _width(before) if not before.strip() else 0, language, [])


def _ends(mark: re.Match[str] | None, current: _Open) -> tuple[bool, bool]:
    """(whether the line ends the block, whether it opens another)."""
    if mark is None or mark["before"].strip() or mark["fence"][0] != current.fence[0]:
        return False, False
    indent = _width(mark["before"])
    if not mark["info"]:
        return len(mark["fence"]) >= len(current.fence) and indent <= current.indent + _REACH, False
    forgotten = indent == current.indent and len(mark["fence"]) == len(current.fence)
    return forgotten, forgotten


def _behind_code(mark: re.Match[str], current: _Open) -> bool:
    """Whether the block's last line of code and its closing fence stand in one line."""
    return bool(mark["before"].strip()) and mark["fence"] == current.fence and not mark["info"] and "`" not in mark["before"]


def _closed(block: _Open) -> Block:
    return Block(block.language, "\n".join(block.lines) + "\n" if block.lines else "")


def _width(blank: str) -> int:
    return len(blank.expandtabs(4))


def _outdented(line: str, indent: int) -> str:
    blank = len(line) - len(line.lstrip(" "))
    return line[min(blank, indent) :]
