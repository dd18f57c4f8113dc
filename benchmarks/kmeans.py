"""K-means of 100,000 vectors beside faiss called directly, and the prompts of GSM8K embedded, clustered and labelled.

    python benchmarks/kmeans.py                                   # 100k x 384 into 300 clusters, 20 iterations
    python benchmarks/kmeans.py --gsm8k path/to/gsm8k_train.jsonl # also the prompts of a JSONL file with a column `question`

Both ways have the same data, seed, iterations and training set (all rows), assign every row at the end, and take turns, each in
a process of its own. Wall seconds suffer from whatever else the machine does; CPU seconds and the ratio suffer less.
Ours also gives exact distances and settles near ties in float64. Memory is what a way adds to the input, at its peak.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
WAYS = ("ours", "faiss")


def peak() -> int:
    """Bytes of this process at its peak. Linux hands getrusage's figure on from the process that started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def by_faiss(vectors: Any, k: int, iterations: int, metric: str) -> Any:
    """faiss.Kmeans on all rows, then the nearest centroid of each."""
    import faiss

    model = faiss.Kmeans(
        vectors.shape[1],
        k,
        niter=iterations,
        seed=0,
        spherical=metric == "cosine",
        max_points_per_centroid=len(vectors),
        min_points_per_centroid=1,
    )
    model.train(vectors)
    return model.assign(vectors)[1]


def by_ours(vectors: Any, k: int, iterations: int, metric: str) -> Any:
    """engine.cluster.kmeans."""
    from engine.cluster.kmeans import kmeans

    return kmeans(vectors, k, seed=0, iterations=iterations, metric=metric).assignment  # type: ignore[arg-type]


def child(way: str, file: Path, k: int, iterations: int, metric: str, threads: int) -> None:
    """Runs one way and prints its figures as JSON."""
    import faiss
    import numpy as np

    import engine.cluster.kmeans  # noqa: F401 - both ways pay the same imports before the clock starts

    faiss.omp_set_num_threads(threads)
    vectors = np.load(file)
    run: Callable[..., Any] = by_ours if way == "ours" else by_faiss
    run(vectors[: 2 * k].copy(), k, 1, metric)  # threads and code are loaded before the clock starts
    before, start, cpu = peak(), time.perf_counter(), time.process_time()
    assignment = run(vectors, k, iterations, metric)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    np.save(file.with_name(f"{way}.npy"), assignment)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "added": (peak() - before) / vectors.nbytes}))


def compare(given: argparse.Namespace) -> None:
    """The table of both ways, and how many rows they put into the same cluster."""
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="rondo-kmeans-") as folder:
        file = Path(folder) / "vectors.npy"
        dice = np.random.default_rng(0)
        vectors = dice.standard_normal((given.rows, given.dimensions), dtype=np.float32)
        vectors += dice.standard_normal((1000, given.dimensions), dtype=np.float32)[dice.integers(0, 1000, given.rows)]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.save(file, vectors)
        del vectors
        settings = [str(value) for value in (given.k, given.iterations, given.metric, given.threads)]
        results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for turn in range(given.repeat):
            for way in WAYS if turn % 2 else reversed(WAYS):
                command = [sys.executable, __file__, "--child", way, str(file), *settings]
                made = subprocess.run(command, capture_output=True, text=True, check=True)
                results[way].append(json.loads(made.stdout))
        same = np.mean(np.load(file.with_name("ours.npy")) == np.load(file.with_name("faiss.npy")))
    print(f"{given.rows:,} x {given.dimensions} into {given.k}, {given.iterations} iterations, {given.metric}, {given.threads} threads")
    print(f"{'way':<8}{'seconds':>9}{'CPU s':>9}{'memory added / input':>22}")
    for way, runs in results.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in ("seconds", "cpu", "added")}
        print(f"{way:<8}{middle['seconds']:>9.2f}{middle['cpu']:>9.2f}{middle['added']:>22.2f}")
    for key in ("seconds", "cpu"):
        each = [ours[key] / theirs[key] for ours, theirs in zip(results["ours"], results["faiss"], strict=True)]
        print(f"ours / faiss, {key}: {statistics.median(each):.2f} (each turn: {', '.join(f'{one:.2f}' for one in each)})")
    print(f"same cluster for {same:.2%} of the rows")


def prompts(path: Path) -> None:
    """Seconds to embed, cluster and label a file's questions, and the labels of the largest clusters."""
    from engine.cluster.embedders import embedders, params
    from engine.cluster.kmeans import kmeans
    from engine.cluster.labels import labels

    texts = [json.loads(line)["question"] for line in path.read_text(encoding="utf-8").splitlines()]
    clock = [(time.perf_counter(), time.process_time())]
    vectors = embedders.load("hashed_ngrams")(params("hashed_ngrams", {}, "params"), path).embed(texts)
    clock.append((time.perf_counter(), time.process_time()))
    made = kmeans(vectors, round(len(texts) ** 0.5), seed=0, metric="cosine")
    clock.append((time.perf_counter(), time.process_time()))
    names = labels(texts, made.assignment.tolist(), len(made.centroids))
    clock.append((time.perf_counter(), time.process_time()))
    print(f"{len(texts):,} prompts into {len(names)} clusters\n{'':<12}{'seconds':>9}{'CPU s':>9}")
    for what, before, after in zip(("embedded", "clustered", "labelled"), clock, clock[1:], strict=False):
        print(f"{what:<12}{after[0] - before[0]:>9.2f}{after[1] - before[1]:>9.2f}")
    for cluster in sorted(range(len(names)), key=lambda one: -made.sizes[one])[:20]:
        print(f"  {made.sizes[cluster]:>5}  {names[cluster]}")


def main() -> None:
    """Runs the comparison, then the prompts where a file is given."""
    if sys.argv[1:2] == ["--child"]:
        way, file, k, iterations, metric, threads = sys.argv[2:]
        return child(way, Path(file), int(k), int(iterations), metric, int(threads))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--k", type=int, default=300)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--metric", choices=("l2", "cosine"), default="l2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--gsm8k", type=Path, help="JSONL with a column `question`")
    given = parser.parse_args()
    compare(given)
    if given.gsm8k:
        prompts(given.gsm8k)
    return None


if __name__ == "__main__":
    main()
