"""Cross entropy: no treatment of the noise. What every other method is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn.functional import cross_entropy

from plugins.tasks.noisy_labels.loop import fit_by_loss

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["CrossEntropy"]


@dataclass
class CrossEntropy:
    """Minimise the mean of ``-log p_y`` over the labels as given."""

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train one network; every label is trusted alike, so there are no sample weights."""
        return fit_by_loss(data, run, lambda logits, batch: (cross_entropy(logits, batch.y), None))
