"""Near duplicates among 20,000 texts of 120 words: Rondo's rule `near`, beside all pairs by an inverted index, and datasketch.

    python benchmarks/near_duplicates.py [--docs 20000] [--words 120] [--threshold 0.7] [--repeat 3] [--folder DIR]

Half of the texts are copies of others with 0 to 40% of their words changed, so similarities of all sizes occur. The inverted index
computes the exact Jaccard similarity of every pair that shares a 5-word shingle: precision and recall are those of linked texts
(pairs in one component). Each way runs in a process of its own. Prints wall and CPU seconds (median), texts a second, growth of the
peak memory beside the size of the texts, and the clusters. `pip install datasketch` adds a peer that makes the MinHash values alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
WAYS = {
    "rondo": {},
    "rondo, minhash 24x10": {"candidates": "minhash"},
    "rondo, minhash 60x4": {"candidates": "minhash", "bands": 60, "rows": 4},
}


def generate(folder: Path, docs: int, words: int) -> None:
    """Texts of a Zipf vocabulary, one a line."""
    draw = random.Random(1)
    vocabulary, weights = [f"w{i}x" for i in range(30_000)], list(accumulate(1 / (i + 3) for i in range(30_000)))
    made: list[list[str]] = []
    while len(made) < docs:
        made.append(draw.choices(vocabulary, cum_weights=weights, k=words))
        source = made[-1]
        for _ in range(draw.choice([0, 0, 0, 1, 2, 4])):
            rate = draw.choice([0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.2, 0.4])
            made.append([word if draw.random() >= rate else draw.choice(vocabulary) for word in source])
    order = list(range(docs))
    draw.shuffle(order)
    (folder / "texts.jsonl").write_text("".join(json.dumps(" ".join(made[i])) + "\n" for i in order))


def by_index(texts: list[str], threshold: float) -> list[int]:
    """The first text of each text's component, from the similarity of every pair that shares a shingle."""
    sets = []
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        sets.append({hash(tuple(words[i : i + 5])) for i in range(len(words) - 4)})
    postings: dict[int, list[int]] = {}
    first = list(range(len(texts)))

    def root(i: int) -> int:
        while first[i] != i:
            i = first[i]
        return i

    for i, own in enumerate(sets):
        shared: Counter[int] = Counter()
        for shingle in own:
            others = postings.setdefault(shingle, [])
            shared.update(others)
            others.append(i)
        for j, count in shared.items():
            if count / (len(own) + len(sets[j]) - count) >= threshold:
                low, high = sorted((root(i), root(j)))
                first[high] = low
    return [root(i) for i in range(len(texts))]


def by_datasketch(texts: list[str]) -> list[int]:
    """MinHash values alone: neither bands nor verification."""
    from datasketch import MinHash

    for text in texts:
        words = re.findall(r"\w+", text.lower())
        MinHash(240).update_batch([" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4)])
    return list(range(len(texts)))


def memory(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most; the peak of the whole life where there is no /proc."""
    try:
        return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def child(way: str, folder: Path, threshold: float) -> None:
    """Runs one way and prints its figures as JSON; components go to a file."""
    sys.path.insert(0, str(ROOT))
    from engine.prompts.hygiene.near import duplicates
    from engine.spec import Near

    with (folder / "texts.jsonl").open() as file:
        texts = [json.loads(line) for line in file]
    duplicates(texts[:100], Near())  # imports and first calls before the clock starts
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before, start, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    more: dict[str, Any] = {}
    if way == "all pairs":
        first = by_index(texts, threshold)
    elif way == "datasketch":
        first = by_datasketch(texts)
    else:
        found = duplicates(texts, Near(threshold=threshold, **WAYS[way]))
        first, more = found.first.tolist(), {"compared": found.compared, "skipped": found.skipped}
    figures = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "growth": memory("VmHWM") - before, **more}
    (folder / f"{way}.json").write_text(json.dumps(first))
    print(json.dumps(figures))


def pairs(first: list[int]) -> set[tuple[int, int]]:
    """Every pair of texts in one component."""
    members: dict[int, list[int]] = {}
    for i, f in enumerate(first):
        members.setdefault(f, []).append(i)
    return {(a, b) for own in members.values() for n, a in enumerate(own) for b in own[n + 1 :]}


def report(folder: Path, docs: int, results: dict[str, list[dict[str, float]]]) -> bool:
    """The table; whether Rondo's clusters are those of all pairs."""
    size = sum(len(json.loads(line)) for line in (folder / "texts.jsonl").open())
    truth = json.loads((folder / "all pairs.json").read_text())
    linked = pairs(truth)
    print(f"{docs:,} texts, {size / 1e6:.1f} MB; all pairs: {len(linked):,} linked pairs, {len(set(truth)):,} texts stay")
    heads = ("seconds", "CPU s", "texts/s", "texts/CPU s", "memory/text", "compared", "precision", "recall")
    print(f"{'way':<22}" + "".join(f"{head:>12}" for head in heads))
    for way, runs in results.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        seconds, cpu, found = middle["seconds"], middle["cpu"], pairs(json.loads((folder / f"{way}.json").read_text()))
        cells = [f"{seconds:.2f}", f"{cpu:.2f}", f"{docs / seconds:,.0f}", f"{docs / cpu:,.0f}", f"{middle['growth'] / size:.2f}"]
        cells += [f"{middle.get('compared', 0):,.0f}"] + [f"{len(found & linked) / max(len(part), 1):.4f}" for part in (found, linked)]
        print(f"{way:<22}" + "".join(f"{cell:>12}" for cell in (cells if way != "datasketch" else cells[:5])))
    same = json.loads((folder / "rondo.json").read_text()) == truth
    ratio = statistics.median(run["cpu"] for run in results["all pairs"]) / statistics.median(run["cpu"] for run in results["rondo"])
    print(f"all pairs / rondo: {ratio:.1f} times the CPU seconds; same clusters: {'yes' if same else 'NO'}")
    return same


def main() -> None:
    """Generates once, runs every way in turns, prints the table, fails if the clusters differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=120)
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the texts here and use them again")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return child(given.child, given.folder, given.threshold)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="rondo-near-"))
    try:
        if not (folder / "texts.jsonl").exists():
            generate(folder, given.docs, given.words)
        ways = [*WAYS, "all pairs", *(["datasketch"] if find_spec("datasketch") else [])]
        results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(given.repeat):
            for way in ways:  # in turns, so that a busy machine slows all of them
                command = [sys.executable, __file__, "--folder", str(folder), "--threshold", str(given.threshold), "--child", way]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{way}: {done.stderr}")
                results[way].append(json.loads(done.stdout))
        if not report(folder, given.docs, results):
            raise SystemExit(1)
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
