"""Runs generation steps in processes that a test may kill: `python killed.py`, a JSON line in for each thing to do, a line out.

This process imports what backends need and is forked for each run, so that a run costs no imports.
{"home", "spec", "model", "texts", "run", "doomed", "pause"}: runs the step of `spec` for prompts of `texts`, with its journal and rows
in `home`; answers with the pid.
{"wait": pid}: answers with the exit status of a run.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx  # noqa: F401 - imported once for all runs
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: F401

from engine.generate import Backend, drive
from engine.generate import transformers as _  # noqa: F401
from engine.generate.asks import asked
from engine.generate.steps import Generations
from engine.lines import Lines
from engine.spec import Spec
from engine.step import Ref
from generate.conformance.rigs import prompts
from generate_tiny import Fake

CALLS, ROWS, ERROR = "calls.jsonl", "rows.parquet", "error.txt"
LONG = 600.0  # seconds that a doomed run waits for its end


def run(order: dict[str, Any]) -> None:
    """One step. It writes down what each call of the backend is asked, and waits `pause` seconds after each append to the journal."""
    home, answers, append = Path(order["home"]), drive.answers, Lines.append
    calls = (home / CALLS).open("a", buffering=1)

    def watched(backend: Backend, asks: pa.Table, **settings: Any) -> pa.Table:
        generate = backend.generate

        def call(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
            pairs = asked(backend.job, batch).pairs
            calls.write(json.dumps({"run": order["run"], "schedules": backend.schedules, "pairs": pairs}) + "\n")
            yield from generate(batch)

        backend.generate = call  # type: ignore[method-assign]
        return answers(backend, asks, **settings)

    def slow(self: Lines, rows: Any) -> None:
        append(self, rows)
        time.sleep(order["pause"])

    drive.answers, Lines.append = watched, slow  # type: ignore[method-assign]
    spec = Spec.model_validate(order["spec"])
    ctx = Fake(spec, home, {Ref("prompts", "train"): prompts(order["texts"])}, order["model"] and Path(order["model"]))
    output = Generations(spec).run(ctx)
    if order["doomed"]:
        time.sleep(LONG)
    pq.write_table(output.rows["generations", "rollout"], home / ROWS)


def forked(order: dict[str, Any]) -> int:
    """The pid of a run."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        sys.stdin.close()
        run(order)
        status = 0
    except BaseException:  # noqa: BLE001 - the parent reads it
        Path(order["home"], ERROR).write_text(traceback.format_exc())
    finally:
        os._exit(status)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(wanted["wait"], 0)[1]) if "wait" in wanted else forked(wanted), flush=True)
