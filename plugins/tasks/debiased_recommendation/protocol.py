"""
Recommendation from ratings that are missing not at random: people choose what they rate, and the test set is what they would say of anything.

The protocol: a method fits on observed ratings, whose pairs of a user and an item select themselves, and predicts the probability of a positive label for
test pairs that were drawn uniformly. It may also say what weight each observed rating got; where the data set knows all labels, these weights are judged
by themselves, as estimates of the mean error of fixed predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch

from harness.errors import TrialUnsupported
from plugins.tasks.debiased_recommendation.rating_models import RatingFit, RatingRecipe, Ratings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.context import Run

__all__ = [
    "DebiasedRecommendationProtocol",
    "Everywhere",
    "Features",
    "ObservedRatings",
    "Outcome",
    "RatingDataset",
    "RecommendationMethod",
    "check_ratings",
]


@dataclass(frozen=True)
class Features:
    """
    Numbers that describe users and items.

    Args:
        user: ``(U, k)`` float32.
        item: ``(I, k)`` float32.
    """

    user: torch.Tensor
    item: torch.Tensor


@dataclass(frozen=True)
class Everywhere:
    """
    What is known of all pairs, where the labels were drawn by rule.

    Args:
        label: ``(U, I)`` uint8 in 0..1.
        predictions: By name, ``(U, I)`` float64 in (0, 1): fixed predictions whose mean error a method's weights are to estimate.
    """

    label: NDArray[np.uint8]
    predictions: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class RatingDataset:
    """
    All that a data set gives, the truth included; only the task and its metrics see this.

    Args:
        train: The observed ratings.
        unbiased: Ratings of a small uniform sample of pairs, apart from the test pairs.
        test: Uniformly drawn pairs with their labels.
        test_target: ``(n,)`` float32 in [0, 1]: the true probability of a positive label for each test pair where it is known, else its label.
        n_users: U.
        n_items: I.
        propensities: ``(N,)`` float32 in (0, 1], the true probability that each training rating was observed, up to a common factor; ``None`` where it is not
            known.
        features: Descriptions that the complete ratings give of users and items; ``None`` where there are none.
        everywhere: The truth about all pairs; ``None`` where it is not known.
    """

    train: Ratings
    unbiased: Ratings
    test: Ratings
    test_target: torch.Tensor
    n_users: int
    n_items: int
    propensities: torch.Tensor | None = None
    features: Features | None = None
    everywhere: Everywhere | None = None


@dataclass(frozen=True)
class ObservedRatings:
    """
    What a method sees.

    Args:
        train: The observed ratings. The position of a rating is its index for as long as the trial lives.
        n_users: U.
        n_items: I.
        recipe: The backbone, optimiser and batch size that every method of the suite shares.
        unbiased: Only for methods with the privilege ``unbiased_ratings``, else ``None``.
        propensities: Only for methods with the privilege ``propensities``, else ``None``.
        features: Only for methods with the privilege ``features``, else ``None``.
    """

    train: Ratings
    n_users: int
    n_items: int
    recipe: RatingRecipe
    unbiased: Ratings | None = None
    propensities: torch.Tensor | None = None
    features: Features | None = None


class RecommendationMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train within ``run.budget.epochs`` and return what predicts."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        test: ``(n,)`` float32, the predicted probability of a positive label for each test pair.
        weights: ``(N,)`` float32, at least 0: the weight of each training rating at the end, up to a common factor; ``None`` where the method has none.
    """

    test: np.ndarray
    weights: np.ndarray | None


@dataclass
class DebiasedRecommendationProtocol(RatingRecipe):
    """
    The protocol and its settings: the recipe that all methods share (see :class:`plugins.tasks.debiased_recommendation.rating_models.RatingRecipe`).

    A suite sets the fields under ``protocol:``, for all data sets or for one.
    """

    outcome_type: ClassVar[type] = Outcome

    def confront(self, method: RecommendationMethod, data: RatingDataset, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Fit ``method`` on what it may see and predict the test pairs.

        Raises:
            ValueError: The data are not ratings of known users and items, or the method's answer has a wrong shape.
            TrialUnsupported: The data set cannot give what the method is privileged to see.
        """
        for name in ("train", "unbiased", "test"):
            check_ratings(name, getattr(data, name), data.n_users, data.n_items)
        _check_both_labels("train", data.train)
        view = self.view(data, privileges)
        run.witness("split", np.stack([data.train.users.numpy(), data.train.items.numpy()]))
        run.witness("labels", data.train.labels.numpy())
        fitted = method.fit(view, run)
        weights = fitted.weights

        return Outcome(
            test=_vector("predict", fitted.predictor.predict(data.test.users.clone(), data.test.items.clone()), len(data.test)),
            weights=None if weights is None else _vector("weights", weights, len(data.train)),
        )

    def for_tuning(self, data: RatingDataset) -> RatingDataset:
        """Return the data with the unbiased sample in the place of the test set, and without what is known of all pairs, the test pairs among them."""
        return replace(data, test=data.unbiased, test_target=data.unbiased.labels, everywhere=None)

    def shuffle_hidden(self, data: RatingDataset, rng: np.random.Generator, privileges: tuple[str, ...]) -> RatingDataset:
        """Return the data with all labels and truths that a method with these privileges must not see in random order."""

        def shuffled(values: torch.Tensor) -> torch.Tensor:
            return values[torch.from_numpy(rng.permutation(len(values)))]

        order = rng.permutation(len(data.test))
        test = replace(data.test, labels=data.test.labels[torch.from_numpy(order)])
        unbiased = replace(data.unbiased, labels=shuffled(data.unbiased.labels))
        propensities = None if data.propensities is None else shuffled(data.propensities)
        features = None if data.features is None else Features(shuffled(data.features.user), shuffled(data.features.item))
        everywhere = data.everywhere
        if everywhere is not None:
            rows = rng.permutation(data.n_users)
            everywhere = Everywhere(everywhere.label[rows], {name: values[rows] for name, values in everywhere.predictions.items()})

        return replace(
            data,
            test=test,
            test_target=data.test_target[torch.from_numpy(order)],
            unbiased=data.unbiased if "unbiased_ratings" in privileges else unbiased,
            propensities=data.propensities if "propensities" in privileges else propensities,
            features=data.features if "features" in privileges else features,
            everywhere=everywhere,
        )

    def view(self, data: RatingDataset, privileges: tuple[str, ...]) -> ObservedRatings:
        """
        Return what a method with these privileges may see. Tensors are copies: nothing that a method does to them reaches the metrics.

        Raises:
            TrialUnsupported: The data set does not know what a privilege would show.
        """
        for name in ("propensities", "features"):
            if name in privileges and getattr(data, name) is None:
                raise TrialUnsupported(f"this data set knows no true {name}, which the method is privileged to see")
        propensities, features = data.propensities, data.features

        return ObservedRatings(
            train=data.train.copy(),
            n_users=data.n_users,
            n_items=data.n_items,
            recipe=self,
            unbiased=data.unbiased.copy() if "unbiased_ratings" in privileges else None,
            propensities=propensities.clone() if propensities is not None and "propensities" in privileges else None,
            features=Features(features.user.clone(), features.item.clone()) if features is not None and "features" in privileges else None,
        )


def check_ratings(name: str, ratings: Ratings, n_users: int, n_items: int) -> None:
    """
    Check that ratings are of known users and items and that labels lie in [0, 1].

    Args:
        name: What the message calls them: ``train``, or the name of a file.
        ratings: To be checked.
        n_users: Users are ``0 .. n_users - 1``.
        n_items: Items are ``0 .. n_items - 1``.

    Raises:
        ValueError: Names the field, the first wrong value and its place.
    """
    if len(ratings) == 0:
        raise ValueError(f"{name} holds no ratings")
    for field, values, count in (("users", ratings.users, n_users), ("items", ratings.items, n_items)):
        if len(values) != len(ratings):
            raise ValueError(f"{name}.{field} has {len(values):,} entries and {name}.labels {len(ratings):,}")
        unknown = torch.nonzero((values < 0) | (values >= count))
        if len(unknown):
            place = int(unknown[0])
            raise ValueError(f"{name}.{field}[{place}] is {int(values[place])}, which is unknown: they are numbered 0 to {count - 1}")
    wrong = torch.nonzero(~((ratings.labels >= 0) & (ratings.labels <= 1)))  # NaN too
    if len(wrong):
        place = int(wrong[0])
        raise ValueError(f"{name}.labels[{place}] is {float(ratings.labels[place])}; labels lie in [0, 1]")


def _check_both_labels(name: str, ratings: Ratings) -> None:
    if bool((ratings.labels == ratings.labels[0]).all()):
        raise ValueError(f"{name}.labels are all {float(ratings.labels[0]):g}; there is nothing to tell apart with one class")


def _vector(name: str, values: torch.Tensor, count: int) -> np.ndarray:
    """Check the shape that metrics rely on."""
    array: np.ndarray = values.detach().cpu().numpy().astype(np.float32)
    if array.shape != (count,):
        raise ValueError(f"the method's {name} gave shape {array.shape}, expected {(count,)}")

    return array
