"""Ordered SGD (Kawaguchi and Lu, 2020, arXiv:1907.04371): learn from the samples of a batch that have the highest losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Le
from torch import Tensor

from plugins.tasks.lm_pretraining.protocol import pretrain

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_pretraining.protocol import BatchLosses, PretrainingView, Trained

__all__ = ["HardestHalf", "hardest_mean"]


def hardest_mean(losses: Tensor, share: float) -> Tensor:
    """
    Return the mean of the ``ceil(share * M)`` highest of ``(M,)`` losses.

    Args:
        losses: Of samples.
        share: In (0, 1]; 1 is the mean of all.
    """
    return losses.topk(math.ceil(share * len(losses))).values.mean()


@dataclass
class HardestHalf:
    """
    Minimise the mean over the samples of the batch with the highest losses.

    Args:
        share: Of the batch that is kept.
    """

    share: Annotated[float, Gt(0), Le(1)] = 0.5

    def fit(self, data: PretrainingView, run: Run) -> Trained:
        """Train the model."""
        return pretrain(data, run, self.loss)

    def loss(self, losses: BatchLosses) -> Tensor:
        """Return the mean over the hardest samples."""
        return hardest_mean(losses.samples.mean, self.share)
