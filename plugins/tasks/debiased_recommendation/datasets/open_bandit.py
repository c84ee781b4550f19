"""Open Bandit: what a learning policy showed and what was clicked, to train on; what a uniform policy showed, to test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray

from harness import Run
from harness.data import load
from plugins.data.ratings.open_bandit import OPEN_BANDIT
from plugins.tasks.debiased_recommendation.protocol import RatingDataset
from plugins.tasks.debiased_recommendation.rating_models import Ratings

__all__ = ["OpenBandit"]


@dataclass
class OpenBandit:
    """
    A user is a combination of the four user features, of which there are 245 to 280; an item is a piece of clothing; a label is a click.

    Train is the whole log of Bernoulli Thompson sampling, with the policy's own probabilities as propensities. The stream ``split`` divides the log of the
    uniform policy into the unbiased sample and the test set. A pair may occur often, with and without a click.

    Args:
        campaign: Which clothes were for sale: 80, 34 or 46 items.
        n_unbiased: Rows of the uniform log in the unbiased sample; the others of its 10,000 are the test set.
    """

    campaign: Literal["all", "men", "women"] = "all"
    n_unbiased: Annotated[int, Ge(500), Le(5000)] = 2000

    def load(self, run: Run) -> RatingDataset:
        """Number the users and divide the uniform log."""
        arrays = load(OPEN_BANDIT)
        chosen, uniform = f"bts_{self.campaign}", f"random_{self.campaign}"
        both = np.concatenate([arrays[f"{chosen}_user"], arrays[f"{uniform}_user"]])
        kinds, users = np.unique(both, axis=0, return_inverse=True)
        users = users.reshape(-1)
        n = len(arrays[f"{chosen}_item"])
        order = run.rng("split").permutation(len(both) - n)
        train = _ratings(users[:n], arrays[f"{chosen}_item"], arrays[f"{chosen}_click"])
        clicks = arrays[f"{uniform}_click"]
        parts = [
            _ratings(users[n:][part], arrays[f"{uniform}_item"][part], clicks[part])
            for part in (order[: self.n_unbiased], order[self.n_unbiased :])
        ]

        return RatingDataset(
            train=train,
            unbiased=parts[0],
            test=parts[1],
            test_target=parts[1].labels,
            n_users=len(kinds),
            n_items=len(arrays[f"{chosen}_item_value"]),
            propensities=torch.from_numpy(np.array(arrays[f"{chosen}_propensity"])).float(),
        )


def _ratings(users: NDArray[np.integer], items: NDArray[np.uint8], clicks: NDArray[np.uint8]) -> Ratings:
    return Ratings(
        torch.from_numpy(users.astype(np.int64)), torch.from_numpy(items.astype(np.int64)), torch.from_numpy(clicks.astype(np.float32))
    )
