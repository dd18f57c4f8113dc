"""Model soup: the weighted mean of the weights of models that were trained from one start.

    theta = sum_i w_i theta_i / sum_i w_i

A row of a mixing matrix as weights makes one agent of decentralised training (DIMAT, arXiv 2404.08079, without permutations).
Source: Wortsman et al., "Model soups", ICML 2022, arXiv 2203.05482.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import SpecError
from engine.merge import Merger, Named, mergers

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from engine.spec import Merge, Spec


@mergers.register("soup")
class Soup(Merger):
    """The weighted mean; equal weights where none are given. Equal models give exactly themselves."""

    def check(self, spec: Spec, entry: Merge, spec_path: Path) -> None:
        """SpecError for weights that add up to 0."""
        if entry.weights is not None and not sum(entry.weights):
            raise SpecError(f"merge.weights: they add up to 0: {list(entry.weights)}")

    def tensor(self, named: Named) -> Tensor:
        """See the file's formula; written as steps from the first model, which leave an equal entry as it is."""
        first, whole = named.members[0], sum(named.weights)
        made = first
        for member, weight in zip(named.members[1:], named.weights[1:], strict=True):
            made = made + (weight / whole) * (member - first)
        return made
