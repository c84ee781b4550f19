"""Fine-tuning: train on whatever comes, as if nothing had been before. The lower bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import cross_entropy

from plugins.tasks.class_incremental.training import fit, labels_loss, next_network, score

if TYPE_CHECKING:
    from harness import Run
    from harness.training.networks import Network, Output
    from plugins.tasks.class_incremental.stream import Experience
    from plugins.tasks.class_incremental.training import Batch

__all__ = ["Finetune"]


@dataclass
class Finetune:
    """
    Minimise the cross entropy of the new samples.

    Args:
        new_columns: Whether it is that among the new classes alone, so that the rows of old classes are not trained down.
    """

    new_columns: bool = False

    def __post_init__(self) -> None:
        self._network: Network | None = None

    def learn(self, experience: Experience, run: Run) -> None:
        """Go on with the network of the last experience."""
        self._network = next_network(self._network, experience, run)
        n_old = experience.n_old if self.new_columns else 0

        def among_new(output: Output, batch: Batch) -> Tensor:
            return cross_entropy(output.logits[:, n_old:], batch.y - n_old)

        fit(self._network, experience.train, experience, run, among_new if self.new_columns else labels_loss)

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the logits."""
        return score(self._network, x)
