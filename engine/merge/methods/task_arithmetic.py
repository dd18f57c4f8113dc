"""Task arithmetic: the sum of weighted differences from a base.

    theta = theta_base + scale * sum_i w_i (theta_i - theta_base)

A negative weight takes away what a model has learnt. Source: Ilharco et al., "Editing models with task arithmetic", ICLR 2023,
arXiv 2212.04089.
"""

from __future__ import annotations

from engine.merge import mergers
from engine.merge.deltas import DeltaMerger


@mergers.register("task_arithmetic")
class TaskArithmetic(DeltaMerger):
    """Weighted sums of differences; weights are 1 where none are given."""
