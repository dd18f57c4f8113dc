"""Runs an experiment of the home given as argument, writing down every operator batch before it is computed.

A test kills this process at a random moment and starts it again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

import loop_home
from engine import operators
from engine.generate import Backend, drive
from engine.generate.asks import asked


def main(folder: Path, name: str) -> None:
    """One run; a line of calls.jsonl for every batch that starts."""
    whole, answers = operators.run, drive.answers

    def say(journal: Path, keys: list[str]) -> None:
        with (folder / "calls.jsonl").open("a") as file:
            file.write(json.dumps({"journal": journal.name, "keys": keys}) + "\n")

    def watched(make: Any, rows: pa.Table, **settings: Any) -> pa.Table:
        def wrapped() -> Any:
            operator = make()

            def call(batch: pa.RecordBatch) -> pa.RecordBatch:
                say(settings["journal"], batch.column(settings["key"]).to_pylist())
                return operator(batch)

            return call

        return whole(wrapped, rows, **settings)

    def asking(backend: Backend, asks: pa.Table, **settings: Any) -> pa.Table:
        generate = backend.generate

        def call(batch: pa.RecordBatch) -> Any:
            say(settings["journal"], [f"{prompt}/{sample}" for prompt, sample in asked(backend.job, batch).pairs])
            yield from generate(batch)

        backend.generate = call  # type: ignore[method-assign]
        return answers(backend, asks, **settings)

    operators.run, drive.answers = watched, asking  # every room calls them through their modules
    print("started", flush=True)
    loop_home.load(folder, name=name).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
