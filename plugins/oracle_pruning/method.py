"""Oracle pruning (Feng et al. 2024, arXiv:2412.00143): the loss on the training set that each candidate has before it is retrained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from plugins.tasks.filter_pruning.protocol import PruningView

__all__ = ["OraclePruning"]


@dataclass
class OraclePruning:
    """Try every candidate as it is, and pick the one that loses least; nothing is trained."""

    def score(self, data: PruningView, run: Run) -> Tensor:
        """Return the mean cross entropy of each on the whole training set."""
        run.count(forward=data.n_candidates * len(data.train))

        return data.candidates().score(data.train).loss
