"""
Ratings with a known truth: scores of all pairs become ratings, probabilities and propensities, and labels and what is observed are drawn.

The protocol is :mod:`plugins.data.ratings.mnar`. The scores, and with them the truth, are the data set's; the stream ``split`` draws what is observed,
the labels, the test pairs and the unbiased sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from harness import Run
from plugins.data.ratings import mnar
from plugins.tasks.debiased_recommendation.protocol import Everywhere, Features, RatingDataset
from plugins.tasks.debiased_recommendation.rating_models import Ratings

__all__ = ["MnarSettings", "low_rank_predictions", "singular_features"]

Floats = NDArray[np.float64]

FEATURES = 4
NOISE_SEED = 1  # of the noise of one fixed prediction, which is part of the question and not of the draw


@dataclass
class MnarSettings:
    """
    What is hidden, and how much of it.

    Args:
        n_users: Users.
        n_items: Items.
        rate: Mean propensity.
        alpha: How steeply the propensity falls below a rating of 4, by a factor a rating; 1 hides at random.
        n_test: Test items of each user, drawn at random.
        n_unbiased: Pairs in the unbiased sample.
    """

    n_users: Annotated[int, Ge(2)]
    n_items: Annotated[int, Ge(2)]
    rate: Annotated[float, Gt(0), Le(1)]
    alpha: Annotated[float, Gt(0), Le(1)] = 0.5
    n_test: Annotated[int, Ge(1)] = 40
    n_unbiased: Annotated[int, Ge(2)] = 600

    def __post_init__(self) -> None:
        if self.n_test >= self.n_items:
            raise ValueError(f"n_test is {self.n_test}, a user has {self.n_items} items; leave some for training")
        if self.n_unbiased > self.n_users * (self.n_items - self.n_test):
            raise ValueError(
                f"n_unbiased is {self.n_unbiased}, there are {self.n_users * (self.n_items - self.n_test)} pairs beside the test pairs"
            )

    def draw(self, scores: Floats, run: Run) -> RatingDataset:
        """Turn ``(U, I)`` scores into ratings by their ranks, and draw."""
        rating = mnar.ratings_by_rank(scores)
        truth = mnar.Truth(rating, mnar.true_probabilities(rating), mnar.propensities(rating, self.alpha, self.rate))
        draw = mnar.draw_labels(truth, run.rng("split"), self.n_test, self.n_unbiased)

        return RatingDataset(
            train=_rows(draw.observed, draw.label),
            unbiased=_rows(draw.unbiased, draw.label),
            test=_rows(draw.test, draw.label),
            test_target=torch.from_numpy(truth.probability[draw.test]).float(),
            n_users=rating.shape[0],
            n_items=rating.shape[1],
            propensities=torch.from_numpy(truth.propensity[draw.observed]).float(),
            features=singular_features(scores),
            everywhere=Everywhere(draw.label, _fixed_predictions(truth)),
        )


def singular_features(scores: Floats, count: int = FEATURES) -> Features:
    """Return the first left and right singular vectors of the centred scores, scaled to the mean square 1; the sign makes the largest entry positive."""
    left, _, right = np.linalg.svd(scores - scores.mean(), full_matrices=False)
    sides = []
    for vectors in (left[:, :count], right[:count].T):
        signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
        sides.append(torch.from_numpy(vectors * signs * np.sqrt(len(vectors))).float())

    return Features(*sides)


def low_rank_predictions(probability: Floats, rank: int = FEATURES) -> Floats:
    """Predict the logistic function of the best approximation of a rank to the true log-odds."""
    left, values, right = np.linalg.svd(np.log(probability / (1 - probability)), full_matrices=False)

    return 1 / (1 + np.exp(-(left[:, :rank] * values[:rank]) @ right[:rank]))


def _fixed_predictions(truth: mnar.Truth) -> dict[str, Floats]:
    return {
        "skew": mnar.skewed_predictions(truth.probability, np.random.default_rng(NOISE_SEED)),
        "rotate": mnar.rotated_predictions(truth.rating),
        "coarse": mnar.coarse_predictions(truth.probability),
        "low_rank": low_rank_predictions(truth.probability),
    }


def _rows(chosen: NDArray[np.bool_], label: NDArray[np.uint8]) -> Ratings:
    """List the chosen pairs, users first."""
    users, items = np.nonzero(chosen)

    return Ratings(torch.from_numpy(users), torch.from_numpy(items), torch.from_numpy(label[chosen]).float())
