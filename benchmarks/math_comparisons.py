"""10,000 comparisons by the verifier `math` beside math-verify called plainly: plain numbers, and answers of which a share is LaTeX.

    python benchmarks/math_comparisons.py [--rows 10000] [--latex 0.2] [--mixed 1000] [--peer 1000] [--seed 0]

Answers are solutions of a few lines with a final answer (half of them wrong). `--peer` of each kind are also given to
math_verify.parse and verify in this process, with its own clocks off; the two must give the same verdicts, and where they do not
the first such answers are printed. Prints wall and CPU seconds (children counted), microseconds a comparison and the ratio.
Target: 10,000 plain numbers in 5 s on two cores.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parent.parent
T = TypeVar("T")
Pair = tuple[str, str]  # response, reference
LATEX = (
    (r"\frac{%d}{%d}", r"\dfrac{%d}{%d}"),
    (r"%d\sqrt{%d}", r"\sqrt{%d}\cdot %d"),
    (r"x^{%d}+%d", r"%d+x^{%d}"),
    (r"(%d, %d)", r"\left(%d,%d\right)"),
    (r"\{%d,%d\}", r"\{%d, %d\}"),
)
SWAPPED = {1, 2}  # written the other way round, the two numbers change places


def solution(lot: random.Random, final: str) -> str:
    """A few lines of reasoning that end in `final`."""
    steps = [f"Then {lot.randrange(99)} + {lot.randrange(99)} gives what is left for day {n}." for n in range(lot.randrange(2, 6))]
    return "\n".join([*steps, final])


def plain(lot: random.Random, rows: int) -> list[Pair]:
    """Money, thousands, decimals and whole numbers behind the marks that models use; every second one is off by one."""
    found = []
    for row in range(rows):
        wanted = lot.choice([lot.randrange(100), lot.randrange(10**6), lot.randrange(10**4) / 4])
        said = wanted + row % 2
        text = f"{said:,}" if lot.random() < 0.5 else str(said)
        mark = lot.choice(["#### {}", "The answer is {}.", "\\boxed{{{}}}", "Answer: ${}", "So it is {} in all, the answer is {}."])
        found.append((solution(lot, mark.format(text, text)), str(wanted)))
    return found


def latex(lot: random.Random, rows: int) -> list[Pair]:
    """Fractions, roots, polynomials, tuples and sets, written in two ways; every second one is wrong."""
    found = []
    for row in range(rows):
        kind = row % len(LATEX)
        a, b = lot.randrange(2, 9), lot.choice([7, 11, 13])
        reference, form = LATEX[kind]
        given = (a + row // len(LATEX) % 2, b)
        said = form % (given[::-1] if kind in SWAPPED else given)
        found.append((solution(lot, f"The answer is \\boxed{{{said}}}."), reference % (a, b)))
    return found


def timed(make: Callable[[], T]) -> tuple[T, float, float]:
    """What `make` gives, wall seconds, CPU seconds of this process and of children that have ended."""

    def cpu() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    wall, before = time.perf_counter(), cpu()
    found = make()
    return found, time.perf_counter() - wall, cpu() - before


def ours(pairs: list[Pair]) -> list[str]:
    """Verdicts of the verifier; its child process is started and ended here."""
    from engine.score import Answer, make
    from engine.spec import Scorer

    verifier = make(Scorer(verifier="math"))
    try:
        return [verdict.verdict or "" for verdict in verifier.verify_all([Answer(*pair) for pair in pairs])[0]]
    finally:
        verifier.close()


def peers(pairs: list[Pair]) -> list[str]:
    """Verdicts of math-verify: parse both sides, then verify."""
    from math_verify import parse, verify

    found = []
    for response, reference in pairs:
        wanted, given = parse(f"\\boxed{{{reference}}}", parsing_timeout=None), parse(response, parsing_timeout=None)
        found.append("right" if verify(wanted, given, timeout_seconds=None) else "wrong")
    return found


def report(title: str, pairs: list[Pair], peer_rows: int) -> None:
    """One block of figures."""
    said, wall, cpu = timed(lambda: ours(pairs))
    print(f"{title}: {len(pairs):,} comparisons, {said.count('right'):,} right")
    print(f"  Rondo        wall {wall:7.2f} s  CPU {cpu:7.2f} s  {1e6 * cpu / len(pairs):9.1f} us CPU each")
    some = pairs[:peer_rows]
    told, peer_wall, peer_cpu = timed(lambda: peers(some))
    ratio = (peer_cpu / len(some)) / (cpu / len(pairs))
    print(f"  math-verify  wall {peer_wall:7.2f} s  CPU {peer_cpu:7.2f} s  {1e6 * peer_cpu / len(some):9.1f} us CPU each, of {len(some):,}")
    odd = [(pair, one, other) for pair, one, other in zip(some, said, told, strict=False) if one != other]
    print(f"  CPU ratio {ratio:.1f}; verdicts that differ: {len(odd)} of {len(some):,}")
    for (response, reference), one, other in odd[:3]:
        print(f"    {response.splitlines()[-1]!r} for {reference!r}: Rondo {one}, math-verify {other}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("rows", 10_000), ("mixed", 1000), ("peer", 1000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--latex", type=float, default=0.2, help="share of LaTeX in the mixed answers")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import math_verify  # noqa: F401 - sympy's import is no part of a comparison

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its clocks are off
    lot = random.Random(args.seed)
    report("plain numbers", plain(lot, args.rows), args.peer)
    share = round(args.latex * args.mixed)
    mixed = plain(lot, args.mixed - share) + latex(lot, share)
    lot.shuffle(mixed)
    report(f"mixed, {args.latex:.0%} LaTeX", mixed, args.peer)
    report("LaTeX alone", latex(lot, share), args.peer)


if __name__ == "__main__":
    main()
