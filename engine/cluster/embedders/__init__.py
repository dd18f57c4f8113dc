"""Embedders: texts to vectors. A new one is one file here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from engine.params import Params, validated
from engine.registry import Registry
from engine.step import Device, Model


class Embedder(ABC):
    """Maps texts to vectors; a text's vector never depends on the other texts.

    `revision` rises when vectors change for equal settings. `needs_model`: it embeds with the policy. `on_device`: it computes
    with torch. `batch`: texts that are embedded, and journaled, together.
    """

    revision: ClassVar[int] = 1
    needs_model: ClassVar[bool] = False
    on_device: ClassVar[bool] = False
    batch: ClassVar[int] = 4096
    Params: ClassVar[type[Params]] = Params

    def __init__(self, params: Any, spec_path: Path, model: Model | None = None, device: Device | None = None) -> None:
        self.params, self.spec_path, self.model, self.device = params, spec_path, model, device

    @classmethod
    def settings(cls, params: Any, spec_path: Path) -> dict[str, Any]:
        """JSON for the fingerprint: its settings, with digests of the files that they name."""
        return params.model_dump(mode="json")

    @classmethod  # noqa: B027 - most have nothing more to check
    def check(cls, params: Any, spec_path: Path) -> None:
        """Raises what can be found wrong with its own settings, and the files that they name, before any work."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What stands in the column `model` of `embeddings`: equal names (up to an '@') mean vectors that can be compared."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of the texts: float32, shape (texts, dimensions)."""


embedders: Registry[type[Embedder]] = Registry("cluster.embedders", not_methods=("local",))


def params(name: str, values: dict[str, Any], field: str) -> Any:
    """The validated settings of an embedder, which stand in the spec at `field`."""
    return validated(embedders.load(name).Params, values, field, f"the embedder {name!r}")
