"""Joint training: all data that have come so far, from the start, after each experience. The upper bound, with a privilege that no other method has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.tasks.class_incremental.stream import joined
from plugins.tasks.class_incremental.training import begin, fit, score

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from harness.training.networks import Network
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["Joint"]


@dataclass
class Joint:
    """Minimise the cross entropy of all samples so far; as many steps as the others have had by then together."""

    def __post_init__(self) -> None:
        self._network: Network | None = None

    def learn(self, experience: Experience, run: Run) -> None:
        """Train a network from its initial weights."""
        self._network = begin(experience, run)
        fit(self._network, joined(experience.past, experience.train), experience, run)

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the logits."""
        return score(self._network, x)
