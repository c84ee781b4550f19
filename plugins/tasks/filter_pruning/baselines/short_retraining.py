"""Short retraining (Feng et al. 2024, arXiv:2412.00143): every candidate is retrained for some epochs, and the best one so far is picked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from plugins.tasks.filter_pruning.training import retrain

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from plugins.tasks.filter_pruning.protocol import PruningView

__all__ = ["ShortRetraining"]


@dataclass
class ShortRetraining:
    """
    Retrain all candidates for the epochs of the budget, with the whole schedule in them.

    Args:
        judged_on: The loss on the ``valid`` or on the ``train`` set decides. The paper takes the accuracy on the test set, which nobody has.
    """

    judged_on: Literal["valid", "train"] = "valid"

    def score(self, data: PruningView, run: Run) -> Tensor:
        """Return the mean cross entropy of each."""
        stack = data.candidates()
        retrain(stack, data, run, run.budget.require("epochs"), data.recipe.learning_rate, data.recipe.weight_decay)

        return stack.score(data.valid if self.judged_on == "valid" else data.train).loss
