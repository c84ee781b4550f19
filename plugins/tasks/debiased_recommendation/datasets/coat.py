"""Coat (Schnabel et al. 2016): people rate coats that they chose, to train on, and coats that were drawn for them, to test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from harness import Run
from harness.data import load
from plugins.data.ratings.coat import COAT
from plugins.tasks.debiased_recommendation.datasets.chosen_and_random import Table, divide
from plugins.tasks.debiased_recommendation.protocol import RatingDataset

__all__ = ["Coat"]

LIKED = 3


@dataclass
class Coat:
    """
    A label is whether a rating is 3 or more; 6,960 ratings were chosen, 4,640 drawn.

    Args:
        n_unbiased: Drawn ratings in the unbiased sample, by default 5 % of them; the others are the test set.
    """

    n_unbiased: Annotated[int, Ge(2)] = 232

    def load(self, run: Run) -> RatingDataset:
        """Read both matrices and divide the drawn ratings."""
        arrays = load(COAT)
        chosen, drawn = (_table(arrays[name]) for name in ("chosen", "random"))
        n_users, n_items = arrays["chosen"].shape

        return divide(chosen, drawn, LIKED, self.n_unbiased, n_users, n_items, run)


def _table(ratings: np.ndarray) -> Table:
    users, items = np.nonzero(ratings)

    return Table(users, items, ratings[users, items])
