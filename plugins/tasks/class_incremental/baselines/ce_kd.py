"""Cross entropy and distillation with a memory: weight aligning (arXiv:1911.07053) without the aligning, and BiC without its second stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from harness import Search
from plugins.tasks.class_incremental.exemplars import keep_exemplars
from plugins.tasks.class_incremental.losses import balanced_loss
from plugins.tasks.class_incremental.stream import joined
from plugins.tasks.class_incremental.training import fit, frozen_copy, next_network, score

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from harness.training.networks import Network, Output
    from plugins.tasks.class_incremental.stream import Experience
    from plugins.tasks.class_incremental.training import Batch

__all__ = ["CEKD"]


@dataclass
class CEKD:
    """
    Minimise ``(1 - o / C) CE + (o / C) KD`` over new samples and exemplars, o of C classes old; the first experience has CE alone.

    Args:
        temperature: Of the distillation.
    """

    temperature: Annotated[float, Gt(0), Search(choices=(1.0, 2.0, 4.0))] = 2.0

    def __post_init__(self) -> None:
        self._network: Network | None = None

    def learn(self, experience: Experience, run: Run) -> None:
        """Train beside the network of the last experience, then choose the exemplars."""
        old = None if self._network is None else frozen_copy(self._network)
        self._network = next_network(self._network, experience, run)
        samples = joined(experience.train, experience.memory.samples)
        if old is None:
            fit(self._network, samples, experience, run)
        else:
            fit(self._network, samples, experience, run, self.loss, old)
        keep_exemplars(self._network, experience, run)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum."""
        return balanced_loss(output.logits, batch.require_teacher().logits, batch.y, self.temperature).total

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the logits."""
        return score(self._network, x)
