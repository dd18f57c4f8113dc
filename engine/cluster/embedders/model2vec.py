"""The embedder `model2vec`: static token vectors of the package model2vec, from a local folder. Fast on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from engine.cluster.embedders import Embedder, embedders
from engine.cluster.embedders.local import digest, folder, need
from engine.errors import ModelError
from engine.params import Params

if TYPE_CHECKING:
    from model2vec import StaticModel


class Model2VecParams(Params):
    """Settings of `model2vec`."""

    path: str = Field(description="folder of the model, relative to the spec")
    max_tokens: int | None = Field(None, gt=0, description="tokens of a text that are looked at; none: all")


@embedders.register("model2vec")
class Model2Vec(Embedder):
    """Means of token vectors as the package makes them, of length 1 where the model's config says so."""

    revision = 1
    Params = Model2VecParams

    @classmethod
    def settings(cls, params: Any, spec_path: Path) -> dict[str, Any]:
        """The model by its digest, not by its place."""
        return {"max_tokens": params.max_tokens, "model": digest(folder(params.path, spec_path))}

    @classmethod
    def check(cls, params: Any, spec_path: Path) -> None:
        """SpecError for a missing package or folder."""
        need("model2vec", "model2vec")
        folder(params.path, spec_path)

    @property
    def name(self) -> str:
        """The folder's name and the model's digest."""
        path = folder(self.params.path, self.spec_path)
        return f"{path.name}-{digest(path)}"

    @cached_property
    def _loaded(self) -> StaticModel:
        need("model2vec", "model2vec")
        from model2vec import StaticModel

        path = folder(self.params.path, self.spec_path)
        try:
            return StaticModel.from_pretrained(path, force_download=False)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ModelError(
                f"cannot load the embedding model: {type(error).__name__}: {error}",
                where=str(path),
                hint="expected a folder as StaticModel.save_pretrained writes it",
            ) from error

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of the texts: float32, shape (texts, dimensions)."""
        found = self._loaded.encode(list(texts), max_length=self.params.max_tokens, show_progress_bar=False, use_multiprocessing=False)
        return np.asarray(found, dtype=np.float32)
