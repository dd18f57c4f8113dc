"""DARE: most entries of each difference from the base are dropped by lot, the others grow to keep the mean, then they are added.

    d'_i = m_i d_i / (1 - p),  m_i = 0 with probability p;   theta = theta_base + scale * sum_i w_i d'_i

p up to 0.9 does little harm to the small differences of fine-tuning, and much to large ones. Every other method of differences has
it as `drop`. Source: Yu et al., "Language Models are Super Mario", ICML 2024, arXiv 2311.03099.
"""

from __future__ import annotations

from engine.merge import deltas, mergers
from engine.parts.part import F


class Params(deltas.Params):
    """Settings of `dare`."""

    drop: float = F(0.9, "share of a difference's entries, by lot, that are dropped; the others grow by 1 / (1 - drop)", ge=0, lt=1)


@mergers.register("dare")
class Dare(deltas.DeltaMerger):
    """Drop, rescale and add."""

    Params = Params
