"""Rondo: a declarative data engine for iterative post-training of language models.

>>> from engine import Experiment
>>> Experiment.load("my.yaml").run()
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["Experiment", "__version__"]


def __getattr__(name: str) -> Any:
    """`engine.Experiment` on first use, so that `import engine` stays cheap."""
    if name == "Experiment":
        from engine.experiment import Experiment

        return Experiment
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
