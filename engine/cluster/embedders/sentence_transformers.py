"""The embedder `sentence_transformers`: any model that the package sentence-transformers loads from a local folder."""

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
    from sentence_transformers import SentenceTransformer

DECIMALS = 5  # what is left of a vector of length 1 once the noise of padding and batch size is rounded off


class SentenceTransformersParams(Params):
    """Settings of `sentence_transformers`."""

    path: str = Field(description="folder of the model, relative to the spec")
    prefix: str = Field("", description="put before every text, such as 'query: ' for E5")


@embedders.register("sentence_transformers")
class SentenceTransformers(Embedder):
    """Vectors of length 1, rounded to 5 decimals; a text longer than the model takes is cut by the model's own rule."""

    revision = 1
    on_device = True
    batch = 256
    Params = SentenceTransformersParams

    @classmethod
    def settings(cls, params: Any, spec_path: Path) -> dict[str, Any]:
        """The model by its digest, not by its place."""
        return {"prefix": params.prefix, "model": digest(folder(params.path, spec_path))}

    @classmethod
    def check(cls, params: Any, spec_path: Path) -> None:
        """SpecError for a missing package or folder."""
        need("sentence_transformers", "sentence_transformers")
        folder(params.path, spec_path)

    @property
    def name(self) -> str:
        """The folder's name and the model's digest."""
        path = folder(self.params.path, self.spec_path)
        return f"{path.name}-{digest(path)}"

    @cached_property
    def _loaded(self) -> SentenceTransformer:
        need("sentence_transformers", "sentence_transformers")
        import torch
        from sentence_transformers import SentenceTransformer

        path, device = folder(self.params.path, self.spec_path), self.device
        if device is not None:
            torch.set_num_threads(device.threads)
        try:
            return SentenceTransformer(
                str(path),
                device=device.device if device else "cpu",
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            ).eval()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
            raise ModelError(
                f"cannot load the embedding model: {type(error).__name__}: {error}",
                where=str(path),
                hint="expected a folder as SentenceTransformer.save_pretrained writes it",
            ) from error

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of the texts: float32, shape (texts, dimensions)."""
        found = self._loaded.encode(
            [self.params.prefix + text for text in texts], batch_size=32, normalize_embeddings=True, show_progress_bar=False
        )
        return np.round(np.asarray(found, dtype=np.float32), DECIMALS) + np.float32(0)  # + 0: no -0.0
