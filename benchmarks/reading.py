"""Measures that read answers: log-probabilities in batches beside one row at a time, head gradients beside autograd.

    python benchmarks/reading.py [--rows 512] [--width 256] [--layers 4] [--vocabulary 8000] [--tokens 120]

A random Llama in a temporary folder, one thread, rows of random length. Prints rows a second of CPU time, the largest difference
between the ways, and how many rows were computed anew because rounding could have depended on their batch.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def timed(label: str, rows: int, work: Callable[[], Any]) -> Any:
    """The result of `work`; prints rows a second."""
    cpu, wall = time.process_time(), time.perf_counter()
    made = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{label:<46}{rows / cpu:>10.1f} rows a CPU second{cpu:>9.2f} CPU s{wall:>9.2f} s")
    return made


def main() -> None:
    """Builds model and rows, runs every way."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {"rows": 512, "width": 256, "layers": 4, "vocabulary": 8000, "tokens": 120}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    import numpy as np
    import pyarrow as pa
    import torch
    import transformers as hf

    from engine.score.measures.head_gradient import Gradient
    from engine.score.reader import SHAPE, Likelihood, Reader
    from engine.step import Model
    from generate_tiny import CPU, spec, tokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"hidden_size": given.width, "num_hidden_layers": given.layers, "intermediate_size": 2 * given.width}
    config = hf.LlamaConfig(vocab_size=given.vocabulary, num_attention_heads=8, tie_word_embeddings=False, eos_token_id=0, **shape)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        hf.LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        context = type("Context", (), {"device": CPU, "spec": spec()})()
        reader = Reader(context, Model("", Path(folder)), 4096, True)
    lengths = np.sort(rng.integers(given.tokens // 4, given.tokens + 1, given.rows))[::-1]
    ids = [rng.integers(0, given.vocabulary, n) for n in lengths]
    rows = pa.Table.from_pydict({"key": [str(i) for i in range(given.rows)], "ids": ids, "first": [10] * given.rows}, schema=SHAPE)
    batches = rows.combine_chunks().to_batches(max_chunksize=64)

    calls: list[int] = []
    plain = reader.logprobs
    reader.logprobs = lambda own, first: calls.append(len(own)) or plain(own, first)  # type: ignore[method-assign, func-returns-value]
    operator = Likelihood(reader)
    found = timed("logprob, batches of 64", given.rows, lambda: [row for b in batches for row in operator(b).to_pylist()])
    again = sum(calls) - given.rows
    alone = timed("logprob, one row at a time", given.rows, lambda: [math.fsum(plain([one], [10])[0]) for one in ids])
    gap = max(abs(row["total"] - other) for row, other in zip(found, alone, strict=True))
    print(f"largest difference {gap:.2e} (rounded to 0.01); {again} of {given.rows} rows computed anew")
    if gap > 0.00501:
        raise SystemExit("the ways differ")

    gradient = Gradient(reader, True)
    few = rows.slice(0, min(64, given.rows)).combine_chunks().to_batches()[0]
    closed = timed("head gradient, Gram", few.num_rows, lambda: gradient(few).to_pylist())
    weight = reader.model.lm_head.weight

    def backward() -> list[tuple[float, float]]:
        made = []
        for own in ids[: few.num_rows]:
            with torch.no_grad():
                hidden = reader.model.model(torch.tensor(own[None])).last_hidden_state[0, 9:-1]
            loss = torch.nn.functional.cross_entropy(torch.nn.functional.linear(hidden, weight), torch.tensor(own[10:]))
            (slope,) = torch.autograd.grad(loss, weight)
            made.append((slope.double().square().sum().item(), (slope.double() * weight.double()).sum().item()))
        return made

    slow = timed("head gradient, autograd on the head alone", few.num_rows, backward)
    gap = max(abs(a["norm2"] / b[0] - 1) for a, b in zip(closed, slow, strict=True))
    print(f"largest relative difference of ||G||^2 {gap:.1e}")


if __name__ == "__main__":
    main()
