"""WiSE-FT: the mean of the base's weights and the fine-tuned ones, which forgets less than it unlearns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from harness import Search
from harness.training.lm_fitting import adapted_layers
from plugins.tasks.lm_finetuning.baselines.full import Full

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_finetuning.protocol import FineTuned, FinetuningView

__all__ = ["WiSEFT", "interpolate"]


@torch.no_grad()
def interpolate(weights: Sequence[Tensor], starts: Sequence[Tensor], share: float) -> None:
    """
    Set each weight to ``(1 - share) start + share weight``; 0 and 1 are bit for bit the start and the weight. Source: arXiv:2109.01903, equation (1).

    Args:
        weights: Any shapes; changed in place.
        starts: Of the same shapes.
        share: At least 0; above 1 it extrapolates.
    """
    for weight, start in zip(weights, starts, strict=True):
        weight.copy_(start.lerp(weight, share))


@dataclass
class WiSEFT(Full):
    """
    Full fine-tuning, whose weights are drawn back towards the base afterwards.

    Args:
        learning_rate: As in full fine-tuning.
        share: Of the fine-tuned weights (alpha).
    """

    share: Annotated[float, Ge(0), Search(choices=(0.25, 0.5, 0.75))] = 0.5

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base, and interpolate."""
        weights = [layer.weight for layer in adapted_layers(data.base).values()]
        starts = [weight.detach().clone() for weight in weights]
        tuned = super().fit(data, run)
        interpolate(weights, starts, self.share)

        return tuned
