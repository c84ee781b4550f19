"""Logistic regressions of the rare class against the rest: maximum likelihood, penalised, and with weighted classes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from scipy.special import expit

from harness import Search
from plugins.tasks.rare_events.protocol import Forecast

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["ClassWeighted", "Logistic", "LogisticModel", "fit_logistic", "standardised", "without_prior_shift"]


@dataclass(frozen=True)
class LogisticModel:
    """
    ``P(t = 1 | x) = sigma(intercept + x'weights)``.

    Args:
        intercept: Of the data as given.
        weights: ``(p,)``.
    """

    intercept: float
    weights: np.ndarray

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Return ``(n,)`` probabilities in [0, 1] for points ``(n, p)``."""
        return expit(self.intercept + x @ self.weights)

    def predict(self, x: np.ndarray) -> Forecast:
        """Predict the rare class alone."""
        return Forecast(rare=self.probabilities(x))


def standardised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the columns with mean 0 and standard deviation 1, their means and their standard deviations, 1 where a column is constant."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale <= 1e-12 * np.maximum(1.0, np.abs(mean)), 1.0, scale)

    return (x - mean) / scale, mean, scale


def fit_logistic(x: np.ndarray, t: np.ndarray, balanced: bool = False) -> LogisticModel:
    """
    Fit by maximum likelihood.

    Where the classes are separable there is none, and scikit-learn's last iterate is returned, with probabilities near 0 and 1.

    Args:
        x: ``(n, p)`` float64.
        t: ``(n,)``, 0 or 1; both occur.
        balanced: Whether class ``c`` weighs ``n / (2 n_c)`` a sample.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    scaled, mean, scale = standardised(x)
    solver = LogisticRegression(C=np.inf, solver="lbfgs", tol=1e-9, max_iter=2000, class_weight="balanced" if balanced else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # separable data: the docstring says what comes of it
        solver.fit(scaled, t)
    weights = solver.coef_[0] / scale

    return LogisticModel(float(solver.intercept_[0] - mean @ weights), weights)


def without_prior_shift(model: LogisticModel, weight_ratio: float) -> LogisticModel:
    """
    Divide the odds by the ratio of the weights of class 1 and class 0 under which a model was fitted.

    That turns its probabilities into those of the unweighted population, exactly where the model is right and for the model of an intercept alone.
    """
    return replace(model, intercept=model.intercept - float(np.log(weight_ratio)))


@dataclass
class Logistic:
    """Fit the rare class against the rest by maximum likelihood; common practice, and a baseline of the PRESTO paper."""

    def fit(self, data: OrdinalTraining, run: Run) -> LogisticModel:
        """Fit without a penalty."""
        return fit_logistic(data.x, data.is_rare)


@dataclass
class ClassWeighted:
    """
    Let both classes weigh the same in a logistic regression; common practice.

    Args:
        recalibrate: Whether to divide the odds by the ratio of the weights afterwards; without, rare events look about as likely as not.
    """

    recalibrate: Annotated[bool, Search(choices=(False, True))] = False

    def fit(self, data: OrdinalTraining, run: Run) -> LogisticModel:
        """Fit with weights ``n / (2 n_c)``."""
        t = data.is_rare
        model = fit_logistic(data.x, t, balanced=True)

        return without_prior_shift(model, (t == 0).sum() / t.sum()) if self.recalibrate else model
