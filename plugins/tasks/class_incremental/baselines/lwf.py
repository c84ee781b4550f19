"""Learning without forgetting (Li & Hoiem 2016, arXiv:1606.09282): the network of the last experience says what the old rows should go on saying."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.class_incremental.losses import distillation
from plugins.tasks.class_incremental.training import fit, frozen_copy, next_network, score

if TYPE_CHECKING:
    from harness import Run
    from harness.training.networks import Network, Output
    from plugins.tasks.class_incremental.stream import Experience
    from plugins.tasks.class_incremental.training import Batch

__all__ = ["LwF"]


@dataclass
class LwF:
    """
    Minimise ``CE(new columns) + w KD(old columns)`` on new samples alone.

    Args:
        weight: w, of the distillation; 0 is ``finetune`` with ``new_columns``.
        temperature: Of the distillation.
    """

    weight: Annotated[float, Ge(0), Search(0.3, 30.0, log=True)] = 3.0
    temperature: Annotated[float, Gt(0), Search(choices=(1.0, 2.0, 4.0))] = 2.0

    def __post_init__(self) -> None:
        self._network: Network | None = None

    def learn(self, experience: Experience, run: Run) -> None:
        """Train beside the network of the last experience."""
        old = None if self._network is None else frozen_copy(self._network)
        self._network = next_network(self._network, experience, run)
        fit(self._network, experience.train, experience, run, self.loss, old)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum; without an old network, the cross entropy."""
        if batch.teacher is None:
            return cross_entropy(output.logits, batch.y)
        old = batch.teacher.logits
        n_old = old.shape[1]
        ce = cross_entropy(output.logits[:, n_old:], batch.y - n_old)

        return ce + self.weight * distillation(output.logits[:, :n_old], old, self.temperature) if self.weight > 0 else ce

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the logits."""
        return score(self._network, x)
