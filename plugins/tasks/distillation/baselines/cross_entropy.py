"""Cross entropy: the student learns from the labels alone, as if there were no teacher. What every other method is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.training.fitting import labels_loss
from plugins.tasks.distillation.protocol import train_alone

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["CrossEntropy"]


@dataclass
class CrossEntropy:
    """Minimise the mean of ``-log p_y``."""

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student without its teacher."""
        return train_alone(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean cross entropy of the labels."""
        return labels_loss(output, batch)
