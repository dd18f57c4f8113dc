"""Child process of engine.score.latex: compares answers with math-verify, one JSON line in, one out.

Started by its file, so it imports nothing of Rondo. It may hang or be killed at any time; the parent starts another.
"""

import json
import re
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

from math_verify import parse, verify

MEMORY = 4 << 30  # bytes of address space; a tower of powers must not take the machine with it
WORDS = re.compile(r"[A-Za-z][A-Za-z .'-]{2,}")
MARKED = re.compile(r"\$|\\boxed|\\\(|\\\[")


@lru_cache(maxsize=4096)
def gold(reference: str) -> list[Any]:
    """The parsed reference; empty where it is no mathematics (a plain word would pass as a product of its letters)."""
    if WORDS.fullmatch(reference):
        return []
    return parse(reference if MARKED.search(reference) else f"\\boxed{{{reference}}}", parsing_timeout=None)


def compare(reference: str, response: str) -> tuple[str, str | None]:
    """(verdict, detail) of one answer."""
    wanted = gold(reference)
    if not wanted:
        return "error", f"the reference {reference!r} is not mathematics; score it with `exact`"
    found = parse(response, parsing_timeout=None)
    if not found:
        return "unparseable", "no answer found"
    if verify(wanted, found, timeout_seconds=None):
        return "right", None
    return "wrong", f"found {found[-1]}, expected {reference}"


def main() -> None:
    """Says that it is ready after a first comparison, then serves until its input ends."""
    seconds = int(sys.argv[1])
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not look like a reply
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    compare("\\frac{1}{2}", "$\\frac{2}{4}$")
    print(json.dumps(["ready", None]), file=replies, flush=True)
    for line in sys.stdin:
        # ends a comparison that outlives its parent; the parent's own clock is shorter
        signal.alarm(seconds)
        try:
            answer = compare(*json.loads(line))
        except Exception as error:  # noqa: BLE001 - sympy raises anything on odd input; it becomes this row's verdict
            answer = ("error", f"math-verify failed: {type(error).__name__}: {error}"[:500])
        signal.alarm(0)
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main()
