"""Propensities: how likely each rating was to be observed, guessed in several ways, and the models that some methods train for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from plugins.data.ratings.mnar import naive_bayes_propensities

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings
    from plugins.tasks.debiased_recommendation.rating_models import Pairs, Ratings

__all__ = [
    "Observation",
    "ObservedLookup",
    "PropensityModel",
    "PropensityTerms",
    "bias_propensities",
    "entire_space_balance",
    "naive_bayes",
    "normalised",
    "observation_rate",
    "stable_propensity_terms",
    "true_propensities",
    "unbiased_share",
]


class Observation(NamedTuple):
    """
    What is known of some pairs.

    Args:
        observed: ``(n,)`` in 0..1.
        labels: ``(n,)`` in 0..1, 0 where a pair is not observed.
    """

    observed: Tensor
    labels: Tensor


class PropensityTerms(NamedTuple):
    """
    The two parts of StableDR's loss of propensities.

    Args:
        cross_entropy: ``sum_A bce(p, o)``.
        balance: ``(sum_A (1 - o / p) (e^ - mean e^))^2``.
    """

    cross_entropy: Tensor
    balance: Tensor


def observation_rate(data: ObservedRatings) -> float:
    """Return ``|O| / |D|``: observed ratings by pairs that there are."""
    return len(data.train) / (data.n_users * data.n_items)


def normalised(weights: Tensor) -> Tensor:
    """Scale weights to the mean 1 over all training ratings, so that a learning rate means the same in all methods."""
    return weights / weights.mean()


def unbiased_share(data: ObservedRatings) -> float:
    """
    Return the share of positive labels in the unbiased sample.

    Raises:
        ValueError: The method lacks the privilege, or the sample has one class only.
    """
    if data.unbiased is None:
        raise ValueError("naive Bayes propensities need the privilege 'unbiased_ratings'")
    share = float(data.unbiased.labels.double().mean())
    if not 0 < share < 1:
        raise ValueError(f"unbiased.labels are all {share:g}; naive Bayes propensities need both labels in the unbiased sample")

    return share


def naive_bayes(data: ObservedRatings) -> Tensor:
    """
    Return the propensity of each training rating, ``(N,)`` in (0, 1]: ``P(o | r) = P(r | o) P(o) / P(r)``, ``P(r)`` from the unbiased sample.

    Raises:
        ValueError: As :func:`unbiased_share`.
    """
    labels = data.train.labels.cpu().double().numpy()
    found = naive_bayes_propensities(labels, unbiased_share(data), data.n_users * data.n_items)

    return torch.from_numpy(found).float().clamp(max=1.0)


def true_propensities(data: ObservedRatings) -> Tensor:
    """
    Return the true propensity of each training rating.

    Raises:
        ValueError: The method lacks the privilege.
    """
    if data.propensities is None:
        raise ValueError("the true propensities need the privilege 'propensities'")

    return data.propensities


def bias_propensities(ratings: Ratings, n_users: int, n_items: int, ridge: float = 1.0, sweeps: int = 30) -> Tensor:
    """
    Fit ``logit p = a_u + b_i + c`` to what is observed among all pairs, by a Newton step for each bias in turn, and return p of the observed pairs.

    Args:
        ratings: The observed pairs; labels play no part.
        n_users: U.
        n_items: I; the fit holds a few ``(U, I)`` arrays.
        ridge: Twice the penalty on each squared bias of a user or item.
        sweeps: How often users, items and the common bias are stepped.

    Returns:
        ``(N,)`` in (0, 1).
    """
    observed = torch.zeros(n_users, n_items, dtype=torch.float64)
    observed[ratings.users, ratings.items] = 1.0
    user, item = torch.zeros(n_users, 1, dtype=torch.float64), torch.zeros(1, n_items, dtype=torch.float64)
    share = float(observed.mean())
    bias = math.log(share / (1 - share))
    for _ in range(sweeps):
        for values, dimension in ((user, 1), (item, 0)):
            p = torch.sigmoid(user + item + bias)
            slope = (observed - p).sum(dim=dimension, keepdim=True) - ridge * values
            values += (slope / ((p * (1 - p)).sum(dim=dimension, keepdim=True) + ridge)).clamp(
                -2, 2
            )  # a user without ratings would run away
        p = torch.sigmoid(user + item + bias)
        bias += float((observed - p).sum() / (p * (1 - p)).sum())
    fitted = torch.sigmoid(user + item + bias)

    return fitted[ratings.users, ratings.items].float()


class PropensityModel(nn.Module):
    """
    ``sigmoid(v . [p_u; q_i] + c)`` from vectors of its own: the propensity model of the released code.

    Args:
        data: Users, items and the rate of observation, where its constant starts.
        size: Length of the vectors.
        run: The trial; the stream ``init_propensity`` decides the start.
        floor: The least propensity that it gives, as a share of the rate of observation.
    """

    def __init__(self, data: ObservedRatings, size: int, run: Run, floor: float) -> None:
        super().__init__()
        generator = run.torch_rng("init_propensity")
        rate = min(observation_rate(data), 0.5)
        self.user = nn.Parameter(0.1 * torch.randn(data.n_users, size, generator=generator))
        self.item = nn.Parameter(0.1 * torch.randn(data.n_items, size, generator=generator))
        self.last = nn.Parameter(torch.randn(2 * size, generator=generator) / math.sqrt(2 * size))
        self.bias = nn.Parameter(torch.tensor(math.log(rate / (1 - rate))))
        self._floor = floor * rate

    def forward(self, pairs: Pairs) -> Tensor:
        """Return ``(n,)`` logits."""
        return torch.cat((self.user[pairs.users], self.item[pairs.items]), dim=1) @ self.last + self.bias

    def propensities(self, pairs: Pairs) -> Tensor:
        """Return ``(n,)`` propensities, at least the floor."""
        return torch.sigmoid(self(pairs)).clamp(min=self._floor, max=1 - 1e-6)


class ObservedLookup:
    """
    Tells which pairs are observed and with which label.

    Args:
        ratings: The training ratings; of a pair that is there twice, the last label counts.
        n_items: I.
    """

    def __init__(self, ratings: Ratings, n_items: int) -> None:
        self._n_items = n_items
        keys = ratings.users * n_items + ratings.items
        order = torch.argsort(keys, stable=True)
        self._keys, self._labels = keys[order], ratings.labels[order]

    def look_up(self, pairs: Pairs) -> Observation:
        """Return what is known of each pair."""
        keys = pairs.users * self._n_items + pairs.items
        place = (torch.searchsorted(self._keys, keys, right=True) - 1).clamp(min=0)
        observed = (self._keys[place] == keys).to(self._labels.dtype)

        return Observation(observed, observed * self._labels[place])


def stable_propensity_terms(logits: Tensor, propensities: Tensor, observed: Tensor, imputed_errors: Tensor) -> PropensityTerms:
    """
    Return the two parts of StableDR's loss of propensities (Li et al. 2023, arXiv:2205.04701).

    Args:
        logits: ``(A,)``, of the propensities.
        propensities: ``(A,)`` in (0, 1], bounded below.
        observed: ``(A,)`` in 0..1.
        imputed_errors: ``(A,)``, without graph.
    """
    centred = imputed_errors - imputed_errors.mean()

    return PropensityTerms(
        binary_cross_entropy_with_logits(logits, observed, reduction="sum"),
        ((1 - observed / propensities) * centred).sum() ** 2,
    )


def entire_space_balance(propensities: Tensor, observed: Tensor, predictions: Tensor) -> Tensor:
    """Return ``(mean_A (o / p - (1 - o) / (1 - p)) r^)^2``, the balance of a function of the pairs that right propensities make 0 (Li et al. 2023)."""
    return (((observed / propensities - (1 - observed) / (1 - propensities)) * predictions).mean()) ** 2
