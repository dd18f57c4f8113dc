"""Rouge-L between all answers of a prompt: engine.similarity beside the package rouge-score, which is no dependency of Rondo.

    pip install rouge-score && python benchmarks/rouge.py [--prompts 12] [--samples 8] [--words 120]

Prints CPU and wall seconds, the ratio, and the largest difference between the two F values.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = "then we add the number of apples to running total which gives another value conditional happily hopping falling filing"


def timed(make: Callable[[], list[float]]) -> tuple[list[float], float, float]:
    """What `make` gives, CPU seconds, wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = make()
    return found, time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("prompts", 12), ("samples", 8), ("words", 120)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from engine.similarity import rouge_l, words

    lot = random.Random(0)
    vocabulary = TEXT.split() + [str(n) for n in range(60)]
    groups = [[" ".join(lot.choices(vocabulary, k=args.words)) for _ in range(args.samples)] for _ in range(args.prompts)]

    def ours() -> list[float]:
        given = [[words(text) for text in group] for group in groups]
        return [rouge_l(left, right) for group in given for left, right in combinations(group, 2)]

    def peer() -> list[float]:
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"], use_stemmer=True)
        return [scorer.score(left, right)["rougeL"].fmeasure for group in groups for left, right in combinations(group, 2)]

    found, cpu, wall = timed(ours)
    print(f"{len(found):,} pairs of {args.words} words\nengine.similarity  CPU {cpu:.3f} s  wall {wall:.3f} s")
    try:
        told, peer_cpu, peer_wall = timed(peer)
    except ImportError:
        print("rouge-score is not installed")
        return
    print(f"rouge-score        CPU {peer_cpu:.3f} s  wall {peer_wall:.3f} s  CPU ratio {peer_cpu / cpu:.1f}")
    print(f"largest difference of F: {max(abs(a - b) for a, b in zip(found, told, strict=True)):.2e}")


if __name__ == "__main__":
    main()
