"""Models of all classes by other logits than the cumulative ones: one for each class, or one for each step to the next class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from plugins.tasks.rare_events.baselines.logistic import LogisticModel, fit_logistic, standardised
from plugins.tasks.rare_events.protocol import Forecast

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["ContinuationModel", "ContinuationRatio", "Multinomial", "MultinomialModel"]


@dataclass(frozen=True)
class MultinomialModel:
    """
    Class probabilities as the softmax of linear scores.

    Args:
        intercepts: ``(K,)``.
        weights: ``(p, K)``.
    """

    intercepts: np.ndarray
    weights: np.ndarray

    def predict(self, x: np.ndarray) -> Forecast:
        """Predict all classes."""
        classes = softmax(self.intercepts + x @ self.weights, axis=1)

        return Forecast(rare=classes[:, -1], classes=classes)


@dataclass
class Multinomial:
    """Fit a multinomial logistic regression by maximum likelihood; common practice."""

    def fit(self, data: OrdinalTraining, run: Run) -> MultinomialModel:
        """Fit; on separable data scikit-learn's last iterate is returned."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if data.n_classes == 2:
            model = fit_logistic(data.x, data.y)
            return MultinomialModel(np.array([0.0, model.intercept]), np.stack((np.zeros_like(model.weights), model.weights), axis=1))
        scaled, mean, scale = standardised(data.x)
        solver = LogisticRegression(C=np.inf, solver="lbfgs", tol=1e-8, max_iter=2000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # separable data have no maximum
            solver.fit(scaled, data.y)
        weights = solver.coef_.T / scale[:, None]

        return MultinomialModel(solver.intercept_ - mean @ weights, weights)


@dataclass(frozen=True)
class ContinuationModel:
    """
    A logistic model for each step.

    Args:
        steps: K - 1 models; the one at ``k`` gives ``P(y > k | y >= k)``.
    """

    steps: Sequence[LogisticModel]

    def predict(self, x: np.ndarray) -> Forecast:
        """Predict all classes: to be in class ``k`` is to have gone on ``k`` times, and then no further."""
        onward = np.stack([step.probabilities(x) for step in self.steps], axis=1)
        reached = np.concatenate((np.ones((len(x), 1)), np.cumprod(onward, axis=1)), axis=1)
        classes = reached.copy()
        classes[:, :-1] *= 1 - onward

        return Forecast(rare=classes[:, -1], classes=classes)


@dataclass
class ContinuationRatio:
    """Fit ``P(y > k | y >= k)`` for each step by a logistic regression of the samples that got there; common practice for funnels, never negative."""

    def fit(self, data: OrdinalTraining, run: Run) -> ContinuationModel:
        """Fit K - 1 logistic regressions."""
        there = [data.y >= k for k in range(data.n_classes - 1)]

        return ContinuationModel([fit_logistic(data.x[rows], (data.y[rows] > k).astype(np.int64)) for k, rows in enumerate(there)])
