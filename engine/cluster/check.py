"""What can be wrong with an entry of `cluster` before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.cluster.embedders import embedders, params
from engine.errors import SpecError
from engine.spec import Cluster, Spec


def check(spec: Spec, spec_path: Path) -> None:
    """SpecError for settings that contradict each other, an unknown embedder, or settings and files that it cannot use."""
    for index, entry in enumerate(spec.cluster):
        for field, problem, hint in _problems(entry):
            raise SpecError(f"cluster.{index}.{field}: {problem}", hint=hint)
        try:
            method = embedders.load(entry.embedder)
        except SpecError as error:
            raise SpecError(f"cluster.{index}.embedder: {error.message}", hint=error.hint) from error
        given = params(entry.embedder, entry.params, f"cluster.{index}.params")
        try:
            method.check(given, spec_path)
        except SpecError as error:  # it starts with the field of the entry: embedder, params.path
            raise SpecError(f"cluster.{index}.{error.message}", hint=error.hint) from error


def _problems(entry: Cluster) -> Iterator[tuple[str, str, str]]:
    if entry.rule == "silhouette":
        if not entry.candidates:
            yield "candidates", "the rule silhouette compares none", "give numbers of clusters, such as [8, 16, 32]"
        elif min(entry.candidates) < 2:
            yield "candidates", f"a silhouette needs at least 2 clusters, found {min(entry.candidates)}", "leave smaller ones out"
    elif entry.candidates:
        yield "candidates", f"the rule {entry.rule} compares none, found {list(entry.candidates)}", "set rule: silhouette, or leave it out"
    if entry.rule != "fixed" and entry.k is not None:
        yield "k", f"the rule {entry.rule} chooses k itself, found {entry.k}", "leave out k, or set rule: fixed"
    if entry.rule == "fixed" and entry.k is None and entry.of == "pool":
        yield "of", "a pool's embeddings are not stored, and without k there are no clusters", "give k or a rule"
    if entry.train_rows is not None and entry.k is not None and entry.train_rows < entry.k:
        yield "train_rows", f"{entry.k} clusters cannot be made of {entry.train_rows} items", f"at least {entry.k}"
