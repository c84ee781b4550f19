"""Label smoothing: the target of a sample keeps a share for every class, so that logits need not grow without end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.supervised.baselines.sgd import SGD

if TYPE_CHECKING:
    from harness.training.fitting import Batch
    from harness.training.networks import Output

__all__ = ["LabelSmoothing"]


@dataclass
class LabelSmoothing(SGD):
    """
    SGD on the cross entropy to ``(1 - s) onehot(y) + s / C``.

    Args:
        learning_rate: As in SGD.
        momentum: As in SGD.
        nesterov: As in SGD.
        weight_decay: As in SGD.
        smoothing: The mass ``s`` that is spread over all classes, the given one included.
    """

    smoothing: Annotated[float, Ge(0), Lt(1), Search(0.02, 0.8)] = 0.1

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        return cross_entropy(output.logits, batch.y, label_smoothing=self.smoothing)
