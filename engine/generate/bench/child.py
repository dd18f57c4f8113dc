"""The process that measures one setting: `python -m engine.generate.bench.child TASK.json`; tells what it finds as JSON lines.

It ends with its parent. What libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from engine.errors import RondoError

PDEATHSIG = 1


def main() -> int:
    """Measures the task of the file that the command line names; the number of the parent's process stands behind it."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _with_parent(int(sys.argv[2]))
    from engine.generate.bench.measure import Task, measure

    def tell(found: dict[str, Any]) -> None:
        channel.write(json.dumps(found) + "\n")
        channel.flush()

    try:
        measure(Task(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), tell)
    except RondoError as error:
        tell({"failed": "refused", "reason": str(error)})
    except ImportError as error:
        tell({"failed": "refused", "reason": f"cannot be imported here: {error}"})
    except (MemoryError, RuntimeError) as error:
        from engine.generate.decoding.memory import is_full

        if not is_full(error):
            raise
        tell({"failed": "memory", "reason": "out of memory"})
    return 0


def _with_parent(parent: int) -> None:
    """Ends this process when its parent ends, however that ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
