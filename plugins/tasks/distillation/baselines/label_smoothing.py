"""Label smoothing: a teacher that says the same of every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.distillation.protocol import train_alone

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["LabelSmoothing"]


@dataclass
class LabelSmoothing:
    """
    Minimise the cross entropy to ``(1 - s) onehot(y) + s / C``.

    Args:
        smoothing: The mass ``s`` that is spread over all classes, the given one included.
    """

    smoothing: Annotated[float, Ge(0), Lt(1), Search(0.02, 0.8)] = 0.1

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student without its teacher."""
        return train_alone(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        return cross_entropy(output.logits, batch.y, label_smoothing=self.smoothing)
