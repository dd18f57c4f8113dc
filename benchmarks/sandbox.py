"""Small programs with a few assertions through every way that the sandbox has, beside a plain subprocess a program.

    python benchmarks/sandbox.py [--programs 2000] [--workers 2] [--repeat 3] [--wrong 0.0]

Plain is `python -I -S` on code and tests in one file, as many at a time as workers: the way of most evaluation scripts, with
neither a jail nor an honest referee. Every way must say the same of every program. Prints programs a second (the median of
the rounds, in which the ways take turns), the CPU time a program, children included, and both beside plain.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from engine.score.sandbox import Limits, Program, Sandbox  # noqa: E402

PLAIN = 200  # programs of a round that run the slow way
CODE = """def digits(n):
    total = 0
    while n:
        total += n % 10
        n //= 10
    return total + {off}


def evens(xs, low={low}):
    return [x for x in xs if x % 2 == 0 and x > low]
"""
TESTS = "assert digits(123) == 6\nassert digits({n}) == {digits}\nassert evens([-{low}, 2, 3, 44]) == [2, 44]\nassert evens([]) == []\n"


def programs(count: int, wrong: float) -> list[Program]:
    """`count` programs of their own, 8 answers a test as in a round; every 1 / wrong-th is wrong."""
    made = []
    for i in range(count):
        off = int(wrong > 0 and i % round(1 / wrong) == 0)
        n = 1000 + i // 8
        made.append(Program(CODE.format(off=off, low=-1 - i % 7), TESTS.format(n=n, digits=sum(map(int, str(n))), low=i // 8 % 7 + 7)))
    return made


def plain(given: list[Program], workers: int) -> list[bool]:
    """A fresh interpreter a program; whether it ended with status 0."""

    def one(program: Program) -> bool:
        line = [os.path.realpath(sys.executable), "-I", "-S", "-c", f"{program.code}\n{program.tests}"]
        return subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 0

    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(one, given))


def used() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def boxed(kind: str, workers: int) -> Callable[[list[Program]], tuple[list[bool], float]]:
    """A way of the sandbox, its workers warm; (verdicts, seconds without the start)."""

    def run(given: list[Program]) -> tuple[list[bool], float]:
        with Sandbox(kind, workers=workers, limits=Limits()) as sandbox:  # type: ignore[arg-type]
            sandbox.run(given[: 4 * workers])
            began = time.perf_counter()
            outcomes = sandbox.run(given)
            seconds = time.perf_counter() - began
        return [outcome.status == "passed" for outcome in outcomes], seconds

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--wrong", type=float, default=0.0, help="share of wrong programs")
    options = parser.parse_args()
    given = programs(options.programs, options.wrong)
    expected = plain(given[:PLAIN], options.workers)

    def slow(few: list[Program]) -> tuple[list[bool], float]:
        began = time.perf_counter()
        return plain(few, options.workers), time.perf_counter() - began

    ways = {
        "plain subprocess": slow,
        "jail": boxed("jail", options.workers),
        "none (no jail)": boxed("none", options.workers),
        "auto (monty, then jail)": boxed("auto", options.workers),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    costs: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeat):
        for name, way in ways.items():
            few = given[:PLAIN] if name == "plain subprocess" else given
            before = used()
            verdicts, seconds = way(few)
            costs[name].append(1e3 * (used() - before) / len(few))
            rates[name].append(len(few) / seconds)
            assert verdicts[:PLAIN] == expected, f"{name} disagrees with plain Python"
    print(f"{options.programs} programs, {options.workers} workers, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    base, cost = (statistics.median(found["plain subprocess"]) for found in (rates, costs))
    print(f"{'way':26}{'programs/s':>12}{'x plain':>10}{'ms CPU each':>13}{'x less':>8}   rounds")
    for name in ways:
        rate, each = statistics.median(rates[name]), statistics.median(costs[name])
        rounds = " ".join(f"{one:.0f}" for one in rates[name])
        print(f"{name:26}{rate:>12.0f}{rate / base:>10.1f}{each:>13.2f}{cost / each:>8.1f}   {rounds}")


if __name__ == "__main__":
    main()
