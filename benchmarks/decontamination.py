"""100,000 prompts against 20,000 evaluation items: the overlap behind Rondo's rule `decontaminate`, beside dictionaries and sets.

    python benchmarks/decontamination.py [--prompts 100000] [--items 20000] [--words 60] [--check 5000] [--repeat 3]

One prompt in twenty holds a part of an item, and one item in ten begins with the same 20 words as others do. The plain way (one
dictionary of n-grams, a set of covered words for each pair) looks at the first `--check` prompts; scores must be equal. Each way runs
in a process of its own. Prints wall and CPU seconds (median), prompts a second, and growth of the peak memory beside the texts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path

from near_duplicates import ROOT, memory

N = 8


def generate(folder: Path, prompts: int, items: int, words: int) -> None:
    """Texts of a Zipf vocabulary: a JSON list of items and one of prompts."""
    draw = random.Random(1)
    vocabulary, weights = [f"w{i}x" for i in range(30_000)], list(accumulate(1 / (i + 3) for i in range(30_000)))
    template = draw.choices(vocabulary, cum_weights=weights, k=20)

    def text(length: int) -> list[str]:
        return draw.choices(vocabulary, cum_weights=weights, k=length)

    tests = [(template if draw.random() < 0.1 else []) + text(draw.randint(5, 2 * words)) for _ in range(items)]
    train = []
    for _ in range(prompts):
        own = text(draw.randint(words // 2, words * 3 // 2))
        if draw.random() < 0.05:
            other = draw.choice(tests)
            at = draw.randrange(len(other))
            own = own[:10] + other[at : at + draw.randint(8, len(other) + 8)] + own[10:]
        train.append(own)
    (folder / "items.json").write_text(json.dumps([" ".join(t) for t in tests]))
    (folder / "prompts.json").write_text(json.dumps([" ".join(t) + "." for t in train]))


def by_sets(prompts: list[str], items: list[str]) -> list[float]:
    """The largest share of an item's words that a prompt covers."""
    cut = re.compile(r"[\s,.?!:;()\"\-\\]+")
    postings: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    tests = [[w for w in cut.split(item.lower()) if w] for item in items]
    for index, test in enumerate(tests):
        for at in range(len(test) - N + 1):
            postings.setdefault(tuple(test[at : at + N]), []).append((index, at))
    short = {tuple(test) for test in tests if len(test) < N}
    shares = []
    for prompt in prompts:
        words = [w for w in cut.split(prompt.lower()) if w]
        covered: dict[int, set[int]] = {}
        for at in range(len(words) - N + 1):
            for index, place in postings.get(tuple(words[at : at + N]), ()):
                covered.setdefault(index, set()).update(range(place, place + N))
        best = max((len(places) / len(tests[index]) for index, places in covered.items()), default=0.0)
        shares.append(1.0 if tuple(words) in short else best)
    return shares


def child(way: str, folder: Path, check: int) -> None:
    """Runs one way and prints its figures as JSON; scores go to a file."""
    sys.path.insert(0, str(ROOT))
    from engine.prompts.hygiene.overlap import Index

    prompts, items = (json.loads((folder / f"{name}.json").read_text()) for name in ("prompts", "items"))
    prompts = prompts[:check] if way == "plain" else prompts
    Index([["a b c"]], N).match(["a b c"])  # imports and first calls before the clock starts
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before, start, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    shares = by_sets(prompts, items) if way == "plain" else Index([[item] for item in items], N).match(prompts).share.tolist()
    figures = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "growth": memory("VmHWM") - before}
    (folder / f"{way}.json").write_text(json.dumps(shares))
    print(json.dumps(figures | {"prompts": len(prompts), "size": sum(map(len, prompts)) + sum(map(len, items))}))


def main() -> None:
    """Generates once, runs both ways in turns, prints the table, fails if the scores differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("prompts", 100_000), ("items", 20_000), ("words", 60), ("check", 5000), ("repeat", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return child(given.child, given.folder, given.check)
    folder = Path(tempfile.mkdtemp(prefix="rondo-decontaminate-"))
    try:
        generate(folder, given.prompts, given.items, given.words)
        results: dict[str, list[dict[str, float]]] = {"rondo": [], "plain": []}
        for _ in range(given.repeat):
            for way in results:  # in turns, so that a busy machine slows both
                command = [sys.executable, __file__, "--folder", str(folder), "--check", str(given.check), "--child", way]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{way}: {done.stderr}")
                results[way].append(json.loads(done.stdout))
        print(f"{given.prompts:,} prompts, {given.items:,} items, {results['rondo'][0]['size'] / 1e6:.1f} MB of text")
        print(f"{'way':<8}{'prompts':>9}{'seconds':>9}{'CPU s':>8}{'prompts/s':>11}{'memory/text':>13}")
        for way, runs in results.items():
            middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            print(
                f"{way:<8}{middle['prompts']:>9,.0f}{middle['seconds']:>9.2f}{middle['cpu']:>8.2f}"
                f"{middle['prompts'] / middle['seconds']:>11,.0f}{middle['growth'] / middle['size']:>13.2f}"
            )
        found, plain = (json.loads((folder / f"{way}.json").read_text()) for way in results)
        same = found[: len(plain)] == plain
        print(f"prompts above 0.5: {sum(share > 0.5 for share in found):,}; same scores: {'yes' if same else 'NO'}")
        if not same:
            raise SystemExit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
