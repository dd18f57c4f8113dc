"""What the engine costs a row: 10,000 answers of a dummy backend through a dummy scorer, beside a plain Python loop.

    python benchmarks/overhead.py [--rows 10000] [--repeats 5]

The loop calls the same two functions and appends a JSON line a row. The engine adds ids, batches, the journal,
content hashes, four Delta commits with their ledger rows, and the combined score. Prints medians of wall and CPU time (all
threads). Target: at most 0.05 ms of wall time a row on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from engine import Experiment
from engine.generate import Backend, backends
from engine.generate.asks import asked
from engine.generate.rows import generations
from engine.score import Answer, Verdict, Verifier, verifiers

SAMPLES = 10
SPEC = """
experiment: overhead
base: {data: base.jsonl}
prompts: {train: train.jsonl, fields: {reference: answer}}
generate: {backend: dummy, samples: 10, batch: 1000}
score: [{verifier: dummy}]
select: {sql: select/raft.sql}
train: [{init: base, reference: none, data: round}]
evaluate: {metrics: [mean]}
compute: {device: cpu, threads: 1}
"""


def answer(prompt: str, sample: int) -> str:
    """A made-up answer, right half of the time."""
    return f"{prompt}: {sample % 2}"


@backends.register("dummy")
class Dummy(Backend):
    """Answers at once."""

    needs_model = False
    uses_sampler = False

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """`samples` answers a prompt."""
        start, wanted = time.perf_counter(), asked(self.job, asks)
        texts = [answer(prompt, sample) for prompt, sample in wanted.pairs]
        yield generations(self.job, wanted, texts, seconds=time.perf_counter() - start)


@verifiers.register("dummy")
class Odd(Verifier):
    """Right where the answer ends with the reference."""

    def verify(self, answer: Answer) -> Verdict:
        """1.0 or 0.0."""
        right = answer.reference is not None and answer.response.endswith(answer.reference)
        return Verdict(float(right), "right" if right else "wrong", None)


def engine(folder: Path, rows: int) -> tuple[float, float]:
    """Seconds (wall, CPU) for generations, scores and the combined score of `rows` answers."""
    folder.mkdir()
    for split, count in (("train", rows // SAMPLES), ("base", 1)):
        lines = [json.dumps({"prompt": f"{split} question {i}", "answer": "1", "response": "1"}) for i in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "overhead.yaml").write_text(SPEC)
    with Experiment.load(folder / "overhead.yaml", home=folder / "home").driver() as driver:
        driver.open(-1)
        driver.open(0)
        driver.step(-1, "heldout")
        driver.step(0, "prompts")
        start, cpu = time.perf_counter(), time.process_time()
        for step in ("generations", "scores_dummy", "score"):
            assert driver.step(0, step).state == "done"
        return time.perf_counter() - start, time.process_time() - cpu


def loop(folder: Path, rows: int) -> tuple[float, float]:
    """Seconds (wall, CPU) for the same calls in a plain loop that appends JSON lines."""
    scorer = Odd(Odd.Params())
    start, cpu = time.perf_counter(), time.process_time()
    with (folder / "loop.jsonl").open("w") as file:
        for prompt in range(rows // SAMPLES):
            for sample in range(SAMPLES):
                text = answer(str(prompt), sample)
                verdict = scorer.verify(Answer(text, "1"))
                file.write(json.dumps({"prompt": prompt, "sample": sample, "response": text, "value": verdict.value}) + "\n")
    return time.perf_counter() - start, time.process_time() - cpu


def main() -> None:
    """Prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine(folder / "warm", 1000)
        times = [(engine(folder / str(i), args.rows), loop(folder, args.rows)) for i in range(args.repeats)]
    for what, place in (("wall", 0), ("CPU", 1)):
        ours, plain = (statistics.median(one[place] for one in way) * 1000 / args.rows for way in zip(*times, strict=True))
        line = f"rows {args.rows:,}  {what:<4}  engine {ours:.4f} ms a row  plain loop {plain:.4f} ms a row"
        print(f"{line}  difference {ours - plain:.4f}" + ("  target 0.05" if what == "wall" else ""))


if __name__ == "__main__":
    main()
