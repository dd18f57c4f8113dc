"""A reward model over answers of random length: Rondo's batches beside transformers one row at a time and its pipeline in batches.

    python benchmarks/reward_models.py [--rows 512] [--width 128] [--layers 4] [--letters 160] [--passes 4]

A random Llama with a head of one output in a temporary folder, one thread. Prints rows a second of CPU time, how many numbers
(rounded alike) differ from those of a row alone, how many rows were read anew because rounding could have depended on their
batch, and what passes with dropout cost beside plain ones.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def timed(label: str, rows: int, work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of `work` and its CPU seconds; prints rows a second."""
    cpu, wall = time.process_time(), time.perf_counter()
    made = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{label:<46}{rows / cpu:>10.1f} rows a CPU second{cpu:>9.2f} CPU s{wall:>9.2f} s")
    return made, cpu


def main() -> None:
    """Builds model and answers, runs every way."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {"rows": 512, "width": 128, "layers": 4, "letters": 160, "passes": 4}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    import numpy as np
    import torch
    from transformers import pipeline

    import heads_tiny
    from engine.score.heads import Shown
    from engine.score.heads.classifier import DECIMALS, SHAPE, Classifier, Logits, keyed
    from engine.score.heads.dropout import Dropping
    from engine.step import Model
    from generate_tiny import CPU, LETTERS, spec

    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list(LETTERS), n)) for n in rng.integers(given.letters // 8, given.letters + 1, given.rows)]
    shape = {"hidden_size": given.width, "num_hidden_layers": given.layers, "intermediate_size": 2 * given.width}
    with tempfile.TemporaryDirectory() as folder:
        heads_tiny.save(Path(folder), pad_token_id=1, initializer_range=0.05, num_attention_heads=4, **shape)
        context = type("Context", (), {"device": CPU, "spec": spec()})()
        classifier = Classifier(context, Model("", Path(folder)), Shown())
    ids = classifier.encode(texts)
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    ids = [ids[i] for i in order]
    import pyarrow as pa

    table = pa.Table.from_pydict({"key": keyed(ids), "ids": ids}, schema=SHAPE)
    batches = table.combine_chunks().to_batches(max_chunksize=64)
    classifier.logits([np.array(ids[0])])  # what is loaded at the first call
    calls: list[int] = []
    plain = classifier.logits
    classifier.logits = lambda own, *rest: calls.append(len(own)) or plain(own, *rest)  # type: ignore[method-assign, func-returns-value]
    made, own_time = timed("batches of 64", given.rows, lambda: [row[0] for b in batches for row in Logits(classifier)(b)[1].to_pylist()])
    again = sum(calls) - given.rows
    alone, alone_time = timed("one row at a time", given.rows, lambda: [plain([np.array(row)])[0, 0].item() for row in ids])
    classifier.tokenizer.pad_token_id = 1
    many = pipeline("text-classification", model=classifier.model, tokenizer=classifier.tokenizer, function_to_apply="none", batch_size=64)
    peer, peer_time = timed(
        "transformers' pipeline, batches of 64", given.rows, lambda: [row["score"] for row in many([texts[i] for i in order])]
    )
    exact = [round(value, DECIMALS) for value in alone]
    differ = [sum(round(a, DECIMALS) != b for a, b in zip(numbers, exact, strict=True)) for numbers in (made, peer)]
    print(f"CPU time of one row at a time: {alone_time / own_time:.1f} times ours; of the pipeline: {peer_time / own_time:.1f} times ours")
    print(f"numbers of {given.rows} that differ from a row alone at {DECIMALS} decimals: ours {differ[0]}, pipeline {differ[1]}")
    print(f"rows read anew: {again}")
    torch.manual_seed(0)
    dropping = Dropping(given.passes, 5, "linear", 0.1)
    _, dropped = timed(f"{given.passes} passes with dropout", given.rows, lambda: [Logits(classifier, dropping)(b) for b in batches])
    print(f"a pass with dropout costs {dropped / given.passes / own_time:.1f} plain ones")
    if differ[0]:
        raise SystemExit("a number depends on its batch")


if __name__ == "__main__":
    main()
