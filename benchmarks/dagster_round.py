"""What a round costs in which nothing is left to do: headless (target: under 1 s) and as a Dagster run (under 5 s).

    python benchmarks/dagster_round.py [--repeats 5]

A tiny experiment with recorded answers runs its base and round 000 once. Then the same finished round is asked for again:
headless by reopened drivers (load the spec, take the lock, read the ledger, compare every fingerprint), and by the
experiment's job with the in-process executor on an instance on disk. A new Python process adds its imports once; they are
printed apart.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engine.experiment import Experiment
from engine.home import Home

SPEC = """
experiment: noop
rounds: 1
base:
  data: base.jsonl
  model: {hidden_size: 16, layers: 1, heads: 2, ffn: 16, vocabulary: 128, positions: 64}
  train: {max_steps: 3, batch_size: 4, learning_rate: 1e-3, max_length: 64}
prompts: {train: train.jsonl, gate: gate.jsonl, per_round: 20, fields: {reference: answer}}
generate: {backend: recorded, samples: 1, params: {path: answers.jsonl}}
score: [{verifier: exact}]
select: {sql: select/raft.sql}
train: [{init: previous, reference: none, data: round, max_steps: 2, batch_size: 4, max_length: 64}]
evaluate: {backend: recorded, params: {path: answers.jsonl}, metrics: [mean]}
compute: {device: cpu, threads: 1}
"""


def prepare(folder: Path) -> Home:
    """A home in which the experiment is done."""
    home = Home(folder / "home")
    home.experiments.mkdir(parents=True)
    spans = {"train": range(20), "gate": range(100, 110), "base": range(200, 208)}
    rows = {split: [{"prompt": f"{n}+1=", "answer": str(n + 1), "response": str(n + 1)} for n in span] for split, span in spans.items()}
    rows["answers"] = rows["train"] + rows["gate"]
    for name, lines in rows.items():
        (home.experiments / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    (home.experiments / "noop.yaml").write_text(SPEC)
    Experiment.load("noop", home=home).run()
    return home


def seconds(work: Callable[[], object], repeats: int) -> list[tuple[float, float]]:
    """Wall and CPU seconds of each call, sorted; on a busy machine only the CPU seconds say much."""
    found = []
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - start, time.process_time() - cpu))
    return sorted(found)


def headless(home: Home) -> None:
    """Asks for round 000 as `rondo run` does: every step is compared, none runs."""
    with Experiment.load("noop", home=home).driver() as driver:
        states = {done.state for done in driver.round(0)}
    assert states == {"unchanged"}, states


def report(name: str, found: list[tuple[float, float]], target: float) -> None:
    """One line."""
    wall, cpu = (statistics.median(times) for times in zip(*found, strict=True))
    print(f"{name:<34} median {wall:5.2f} s (CPU {cpu:5.2f} s)   worst {found[-1][0]:5.2f} s   target under {target:g} s")


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        home = prepare(Path(folder))
        report("headless, nothing to do", seconds(lambda: headless(home), repeats), 1)
        from dagster import DagsterInstance

        from assets import definitions

        instance_folder = Path(folder) / "instance"
        instance_folder.mkdir()
        with DagsterInstance.local_temp(str(instance_folder), overrides={"telemetry": {"enabled": False}}) as instance:
            instance.add_dynamic_partitions("rounds_noop", ["000"])
            job = definitions.of(home).resolve_job_def("noop_round")
            logging.disable(logging.CRITICAL)

            def dagster() -> None:
                assert job.execute_in_process(partition_key="000", instance=instance).success

            dagster()  # the first one also imports what draws the plots
            report("Dagster run, nothing to do", seconds(dagster, repeats), 5)
        for name, module in (("import of the headless runner", "engine.experiment"), ("import of the code location", "assets.definitions")):
            command = [sys.executable, "-c", f"import {module}"]
            found = seconds(lambda command=command: subprocess.run(command, check=True), 3)
            print(f"{name:<34} median {found[1][0]:5.2f} s")


if __name__ == "__main__":
    main()
