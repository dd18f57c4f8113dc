"""How long `rondo` takes to answer: `--help`, a query, a run with nothing to do; beside `python -c pass`.

    python benchmarks/startup.py [--times 7] [--home HOME --experiment NAME]

Seconds of wall time of whole processes, median and fastest, and CPU seconds (user and system) of the median run. With
--home and --experiment also `rondo status` and `rondo run` of an experiment that is done.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def cpu() -> float:
    """CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def once(words: list[str], home: str) -> tuple[float, float]:
    """Wall and CPU seconds of one process; its failure ends the benchmark."""
    environment = os.environ | {"RONDO_HOME": home, "PYTHONPATH": str(ROOT)}
    start, before = time.perf_counter(), cpu()
    subprocess.run([sys.executable, *words], env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start, cpu() - before


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--home")
    parser.add_argument("--experiment")
    options = parser.parse_args()
    rondo = ["-m", "engine.cli"]
    cases = {"python -c pass": ["-c", "pass"], "rondo --help": [*rondo, "--help"], "rondo sql 'select 1'": [*rondo, "sql", "select 1"]}
    if options.experiment:
        cases |= {f"rondo {name}": [*rondo, name, options.experiment] for name in ("status", "run")}
    print(f"{'command':<24}{'median s':>10}{'fastest s':>11}{'cpu s':>8}")
    with tempfile.TemporaryDirectory() as empty:
        for name, words in cases.items():
            runs = [once(words, options.home or empty) for _ in range(options.times)]
            walls = [wall for wall, _ in runs]
            used = statistics.median(used for _, used in runs)
            print(f"{name:<24}{statistics.median(walls):>10.3f}{min(walls):>11.3f}{used:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
