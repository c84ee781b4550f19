"""Data drawn from known models, so that the true probability of the rare class is known at every point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from scipy.special import expit, logit

from plugins.tasks.rare_events.protocol import OrdinalSet, RareEvents

if TYPE_CHECKING:
    from harness import Run

__all__ = ["CumulativeTruth", "DenseDifferences", "Funnel", "SparseDifferences", "draw_classes"]

MOST_TRIES = 100  # of weights and points, as in the paper's experiments
N_BOUNDARIES = 3
BETWEEN_THE_LAST = 2.0  # the last two intercepts are so far apart in all of the paper's settings
Size = Annotated[int, Ge(1)]


class CumulativeTruth(NamedTuple):
    """
    A cumulative logit model, ``logit P(y <= k | x) = intercepts_k + x'weights_k``.

    Args:
        intercepts: ``(K - 1,)``, rising.
        weights: ``(p, K - 1)``.
    """

    intercepts: np.ndarray
    weights: np.ndarray

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes, ``(n, K)``, negative where boundaries cross."""
        eta = self.intercepts + x @ self.weights
        below = expit(eta)

        return np.concatenate((below[:, :1], np.diff(below, axis=1), expit(-eta[:, -1:])), axis=1)


def draw_classes(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a class for each row of ``(n, K)`` probabilities, ``(n,)`` int64."""
    edges = np.cumsum(probabilities[:, :-1], axis=1)

    return (rng.random(len(probabilities))[:, None] > edges).sum(axis=1)


@dataclass
class _Cumulative:
    """
    What both designs of the paper have in common.

    Args:
        last_intercept: Of the last of the three boundaries; the others have 0 and 2 less than it. 4.5, 5, 5.5 and 6 in the paper: the greater, the rarer the
            last class.
        n_train: Training points; the paper has 2,500, and with fewer than 2,000 its claim fades.
        n_test: Fresh points.
        n_features: Columns, each uniform between -1 and 1.
    """

    last_intercept: Annotated[float, Gt(BETWEEN_THE_LAST)] = 5.5
    n_train: Size = 2500
    n_test: Size = 10_000
    n_features: Size = 10

    @property
    def intercepts(self) -> np.ndarray:
        """``(3,)``, of the boundaries."""
        return np.array([0.0, self.last_intercept - BETWEEN_THE_LAST, self.last_intercept])

    def draw_weights(self, rng: np.random.Generator) -> np.ndarray:
        """Draw ``(p, K - 1)`` weights."""
        raise NotImplementedError

    def load(self, run: Run) -> RareEvents:
        """
        Draw weights and training points together until every probability is valid and every class occurs, then test points with valid probabilities.

        Raises:
            ValueError: 100 draws were in vain.
        """
        rng = run.rng("sample")
        n_classes = N_BOUNDARIES + 1
        for _ in range(MOST_TRIES):
            truth = CumulativeTruth(self.intercepts, self.draw_weights(rng))
            x = rng.uniform(-1, 1, (self.n_train, self.n_features))
            probabilities = truth.probabilities(x)
            if (probabilities < 0).any():
                continue
            y = draw_classes(probabilities, rng)
            if len(np.unique(y)) == n_classes:
                break
        else:
            raise ValueError(
                f"in {MOST_TRIES} draws of {self.n_train} points boundaries crossed or a class was missing; take a smaller last_intercept, or more points"
            )
        test_x = self._valid_points(truth, rng)
        test_probabilities = truth.probabilities(test_x)

        return RareEvents(
            train=OrdinalSet(x, y),
            test=OrdinalSet(test_x, draw_classes(test_probabilities, rng)),
            n_classes=n_classes,
            columns=tuple(f"x{j}" for j in range(self.n_features)),
            train_probability=probabilities[:, -1],
            test_probability=test_probabilities[:, -1],
        )

    def _valid_points(self, truth: CumulativeTruth, rng: np.random.Generator) -> np.ndarray:
        """Draw test points where no boundaries cross; training points were valid all, so few others exist."""
        found = np.empty((0, self.n_features))
        while len(found) < self.n_test:
            x = rng.uniform(-1, 1, (self.n_test, self.n_features))
            found = np.concatenate((found, x[(truth.probabilities(x) >= 0).all(axis=1)]))

        return found[: self.n_test]


@dataclass
class SparseDifferences(_Cumulative):
    """
    Weights of 0.5 with probability ``density`` at the first boundary, and differences of +-0.5 with that probability from each to the next.

    Args:
        last_intercept: Of the last of the three boundaries; the others have 0 and 2 less than it.
        n_train: Training points.
        n_test: Fresh points.
        n_features: Columns, each uniform between -1 and 1.
        density: In (0, 1]; 1/2 and 1/3 in the paper.
    """

    density: Annotated[float, Gt(0), Le(1)] = 0.5

    def draw_weights(self, rng: np.random.Generator) -> np.ndarray:
        """Draw ``(p, K - 1)`` weights."""
        shape = (self.n_features, N_BOUNDARIES)
        signs = rng.choice([-0.5, 0.5], shape)
        signs[:, 0] = 0.5

        return np.cumsum(np.where(rng.random(shape) < self.density, signs, 0.0), axis=1)


@dataclass
class DenseDifferences(_Cumulative):
    """Weights of the first boundary and all differences uniform between -0.5 and 0.5; the arguments are those of the sparse design."""

    def draw_weights(self, rng: np.random.Generator) -> np.ndarray:
        """Draw ``(p, K - 1)`` weights."""
        return np.cumsum(rng.uniform(-0.5, 0.5, (self.n_features, N_BOUNDARIES)), axis=1)


@dataclass
class Funnel:
    """
    People go from step to step or stop; each step is a logistic model, and neighbouring steps have nearly the same weights.

    Args:
        n_steps: From the first class to the last.
        rate: Share that goes on at a step, at the centre of the features; the rare class is more frequent than its power, since who goes on once goes on again.
        n_train: Training points.
        n_test: Fresh points.
        n_features: Columns, each uniform between -1 and 1.
        drift: Standard deviation of the change of each weight from one step to the next; the weights themselves have 0.5.
    """

    n_steps: Size = 3
    rate: Annotated[float, Gt(0), Lt(1)] = 0.2
    n_train: Size = 2500
    n_test: Size = 10_000
    n_features: Size = 10
    drift: Annotated[float, Ge(0)] = 0.1

    def load(self, run: Run) -> RareEvents:
        """
        Draw weights and points until every class occurs.

        Raises:
            ValueError: 100 draws were in vain.
        """
        rng = run.rng("sample")
        n_classes = self.n_steps + 1
        intercept = logit(self.rate)
        for _ in range(MOST_TRIES):
            steps = rng.normal(0, self.drift, (self.n_features, self.n_steps))
            steps[:, 0] = rng.normal(0, 0.5, self.n_features)
            weights = np.cumsum(steps, axis=1)
            x = rng.uniform(-1, 1, (self.n_train + self.n_test, self.n_features))
            reached = np.cumprod(np.concatenate((np.ones((len(x), 1)), expit(intercept + x @ weights)), axis=1), axis=1)
            probabilities = np.concatenate((-np.diff(reached, axis=1), reached[:, -1:]), axis=1)
            y = draw_classes(probabilities, rng)
            if len(np.unique(y[: self.n_train])) == n_classes:
                break
        else:
            raise ValueError(f"in {MOST_TRIES} draws of {self.n_train} points a class was missing; take a higher rate or more points")
        n = self.n_train

        return RareEvents(
            train=OrdinalSet(x[:n], y[:n]),
            test=OrdinalSet(x[n:], y[n:]),
            n_classes=n_classes,
            columns=tuple(f"x{j}" for j in range(self.n_features)),
            train_probability=probabilities[:n, -1],
            test_probability=probabilities[n:, -1],
        )
