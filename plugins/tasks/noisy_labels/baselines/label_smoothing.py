"""Label smoothing: the target of a sample keeps a share for every class, so that no label is believed entirely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.noisy_labels.loop import fit_by_loss

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["LabelSmoothing", "smoothed_cross_entropy"]


def smoothed_cross_entropy(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """
    Return the cross entropy to ``(1 - s) * onehot(y) + s / C``: the given class has its share of ``s`` too.

    Args:
        logits: ``(N, C)``, unnormalised.
        target: ``(N,)``, class indices.
        smoothing: ``s`` in [0, 1); 0 is cross entropy.

    Returns:
        ``(N,)``, the loss of each sample, not reduced.
    """
    return cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)


@dataclass
class LabelSmoothing:
    """
    Minimise the mean of :func:`smoothed_cross_entropy`.

    Args:
        smoothing: The mass ``s`` that is spread over all classes.
    """

    smoothing: Annotated[float, Ge(0), Lt(1), Search(0.02, 0.8)] = 0.1

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train one network; every label is smoothed alike, so there are no sample weights."""
        return fit_by_loss(data, run, lambda logits, batch: (smoothed_cross_entropy(logits, batch.y, self.smoothing).mean(), None))
