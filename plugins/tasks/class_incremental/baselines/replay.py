"""Experience replay (Chaudhry et al. 2019, arXiv:1902.10486) in its offline form: new samples and those in memory, shuffled together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.tasks.class_incremental.exemplars import keep_exemplars
from plugins.tasks.class_incremental.stream import joined
from plugins.tasks.class_incremental.training import fit, next_network, score

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from harness.training.networks import Network
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["ER"]


@dataclass
class ER:
    """Minimise the cross entropy of new samples and exemplars, each of the same weight."""

    def __post_init__(self) -> None:
        self._network: Network | None = None

    def learn(self, experience: Experience, run: Run) -> None:
        """Train, then choose the exemplars."""
        self._network = next_network(self._network, experience, run)
        fit(self._network, joined(experience.train, experience.memory.samples), experience, run)
        keep_exemplars(self._network, experience, run)

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the logits."""
        return score(self._network, x)
