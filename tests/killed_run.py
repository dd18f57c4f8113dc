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


def main(folder: Path, name: str) -> None:
    """One run; a line of calls.jsonl for every batch that starts."""
    whole = operators.run

    def watched(make: Any, rows: pa.Table, **settings: Any) -> pa.Table:
        def wrapped() -> Any:
            operator = make()

            def call(batch: pa.RecordBatch) -> pa.RecordBatch:
                line = json.dumps({"journal": settings["journal"].name, "keys": batch.column(settings["key"]).to_pylist()})
                with (folder / "calls.jsonl").open("a") as file:
                    file.write(line + "\n")
                return operator(batch)

            return call

        return whole(wrapped, rows, **settings)

    operators.run = watched  # every room calls it through the module
    print("started", flush=True)
    loop_home.load(folder, name=name).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
