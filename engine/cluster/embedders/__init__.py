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
    """Maps texts to vectors; a text's vector never depends on the other texts. `needs_model`: it embeds with the policy."""

    revision: ClassVar[int] = 1
    needs_model: ClassVar[bool] = False
    Params: ClassVar[type[Params]] = Params

    def __init__(self, params: Any, spec_path: Path, model: Model | None = None, device: Device | None = None) -> None:
        self.params, self.spec_path, self.model, self.device = params, spec_path, model, device

    @classmethod
    def settings(cls, params: Any, spec_path: Path) -> dict[str, Any]:
        """JSON for the fingerprint: its settings, with digests of the files that they name."""
        return params.model_dump(mode="json")

    @property
    @abstractmethod
    def name(self) -> str:
        """What stands in the column `model` of `embeddings`."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of the texts: float32, shape (texts, dimensions)."""


embedders: Registry[type[Embedder]] = Registry("cluster.embedders")


def params(name: str, values: dict[str, Any], field: str) -> Any:
    """The validated settings of an embedder, which stand in the spec at `field`."""
    return validated(embedders.load(name).Params, values, field, f"the embedder {name!r}")
