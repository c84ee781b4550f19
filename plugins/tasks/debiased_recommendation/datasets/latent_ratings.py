"""Generated ratings of low rank: no data are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from harness import Run
from plugins.tasks.debiased_recommendation.datasets.semi_synthetic import MnarSettings
from plugins.tasks.debiased_recommendation.protocol import RatingDataset

__all__ = ["LatentRatings"]


@dataclass
class LatentRatings(MnarSettings):
    """
    Scores are a bias of the user, one of the item and the product of their vectors, all normal; the stream ``truth`` draws them.

    Args:
        rank: Length of the vectors.
    """

    n_users: Annotated[int, Ge(2)] = 60
    n_items: Annotated[int, Ge(2)] = 80
    rate: Annotated[float, Gt(0), Le(1)] = 0.15
    n_test: Annotated[int, Ge(1)] = 20
    n_unbiased: Annotated[int, Ge(2)] = 200
    rank: Annotated[int, Ge(1)] = 4

    def load(self, run: Run) -> RatingDataset:
        """Draw the scores, then what is seen of them."""
        rng = run.rng("truth")
        user, item = rng.normal(size=(self.n_users, self.rank)), rng.normal(size=(self.n_items, self.rank))
        scores = user @ item.T / self.rank**0.5 + rng.normal(size=(self.n_users, 1)) + rng.normal(size=self.n_items)

        return self.draw(scores, run)
