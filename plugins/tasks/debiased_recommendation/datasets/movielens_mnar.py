"""Semi-synthetic MovieLens-100K: real ratings, completed, then hidden with known propensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from harness import Run
from harness.data import load
from plugins.data.ratings import mnar
from plugins.data.ratings.movielens import MOVIELENS_100K
from plugins.tasks.debiased_recommendation.datasets.semi_synthetic import MnarSettings
from plugins.tasks.debiased_recommendation.protocol import RatingDataset

__all__ = ["MovielensMnar"]

COMPLETION_SEED = 0  # the truth is one for all draws


@dataclass
class MovielensMnar(MnarSettings):
    """The most active users and most rated films of MovieLens-100K, their ratings completed by regularised matrix factorisation."""

    n_users: Annotated[int, Ge(2), Le(943)] = 300
    n_items: Annotated[int, Ge(2), Le(1682)] = 400
    rate: Annotated[float, Gt(0), Le(1)] = 0.06

    def load(self, run: Run) -> RatingDataset:
        """Complete the matrix, which takes a fifth of a second, and draw."""
        arrays = load(MOVIELENS_100K)
        completed = mnar.complete_matrix(arrays["user"], arrays["item"], arrays["rating"], np.random.default_rng(COMPLETION_SEED))
        kept = np.ix_(mnar.most_frequent(arrays["user"], self.n_users), mnar.most_frequent(arrays["item"], self.n_items))

        return self.draw(completed[kept], run)
