"""Early stopping: which check of a training is the best, and when there has been none better for long enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from harness.training.image_recipe import ImageRecipe

__all__ = ["EarlyStopping", "StoppableRecipe"]


@dataclass
class StoppableRecipe(ImageRecipe):
    """
    A recipe whose trainings by epochs may end before the budget (see :class:`harness.training.image_recipe.ImageRecipe`).

    Args:
        patience: After so many epochs in a row without a better validation accuracy training ends, and the network behind the best epoch, the earliest on
            a tie, is judged. Without it, training takes the whole budget, and the network after the last epoch is judged. The schedule is the same.
    """

    patience: Annotated[int, Ge(1)] | None = None


class EarlyStopping:
    """
    Follows the checks of one training.

    Args:
        patience: Checks in a row without improvement that end it; at least 1.
        min_delta: A check improves if its score is above the best one by more than this.

    Attributes:
        best: Number of the best check, from 0; -1 before the first.
        score: Of the best check.
        checks: How many there were.
    """

    def __init__(self, patience: int, min_delta: float = 0.0) -> None:
        self.best, self.score, self.checks = -1, -math.inf, 0
        self._patience, self._min_delta = patience, min_delta

    def improves(self, score: float) -> bool:
        """Note a check, the higher its score the better, and return whether it is the best so far."""
        better = score > self.score + self._min_delta
        if better:
            self.best, self.score = self.checks, score
        self.checks += 1

        return better

    @property
    def is_over(self) -> bool:
        """Whether patience is at its end."""
        return self.checks - 1 - self.best >= self._patience
