"""The focal loss (Lin et al. 2017, arXiv:1708.02002) on a logistic model: easy samples weigh less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from annotated_types import Ge
from scipy.special import expit, log_expit

from harness import Search
from plugins.tasks.rare_events.baselines.logistic import LogisticModel, standardised
from plugins.tasks.rare_events.protocol import Forecast

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["Focal", "FocalModel", "Losses", "focal_loss", "posterior_of_focal"]


class Losses(NamedTuple):
    """``(n,)`` losses and their derivatives in the logits."""

    loss: np.ndarray
    slope: np.ndarray


def focal_loss(eta: np.ndarray, t: np.ndarray, gamma: float) -> Losses:
    """
    Return ``-(1 - p)**gamma log p`` of the observed class, equation (4) of arXiv:1708.02002, and its derivative in the logit of class 1.

    Args:
        eta: ``(n,)``, logits of class 1.
        t: ``(n,)``, 0 or 1.
        gamma: At least 0; 0 is the log loss.
    """
    sign = np.where(t == 1, 1.0, -1.0)
    p, other, log_p = expit(sign * eta), expit(-sign * eta), log_expit(sign * eta)

    return Losses(-(other**gamma) * log_p, sign * other**gamma * (gamma * p * log_p - other))


def posterior_of_focal(p: np.ndarray, gamma: float) -> np.ndarray:
    """
    Return the probability of which ``p`` is the prediction that minimises the expected focal loss.

    The focal loss is no proper score: its minimiser is closer to 1/2 than the truth. Setting the derivative of ``a f(p) + (1 - a) f(1 - p)`` with
    ``f(p) = -(1 - p)**gamma log p`` to 0 gives ``a = f'(1 - p) / (f'(p) + f'(1 - p))`` (Charoenphakdee et al. 2021, arXiv:2011.09172).

    Args:
        p: ``(n,)`` in [0, 1].
        gamma: At least 0; 0 changes nothing.
    """
    p = np.clip(p, 1e-15, 1 - 1e-15)

    def steepness(u: np.ndarray) -> np.ndarray:
        return (1 - u) ** gamma / u - (gamma * (1 - u) ** (gamma - 1) * np.log(u) if gamma > 0 else 0.0)  # -f'

    return steepness(1 - p) / (steepness(p) + steepness(1 - p))


@dataclass(frozen=True)
class FocalModel:
    """
    A logistic model fitted under the focal loss.

    Args:
        logistic: The model.
        gamma: Of the loss, to be undone; 0 predicts as it stands.
    """

    logistic: LogisticModel
    gamma: float

    def predict(self, x: np.ndarray) -> Forecast:
        """Predict the rare class alone."""
        p = self.logistic.probabilities(x)

        return Forecast(rare=p if self.gamma == 0 else posterior_of_focal(p, self.gamma))


@dataclass
class Focal:
    """
    Minimise the mean focal loss of a linear model.

    Args:
        gamma: How much easy samples are left out; 2 in the paper.
        recalibrate: Whether to turn the predictions into the probabilities that they stand for (:func:`posterior_of_focal`).
    """

    gamma: Annotated[float, Ge(0), Search(0.5, 4.0)] = 2.0
    recalibrate: Annotated[bool, Search(choices=(False, True))] = False

    def fit(self, data: OrdinalTraining, run: Run) -> FocalModel:
        """Start from the intercept that reproduces the rare class's share."""
        from scipy.optimize import minimize

        scaled, mean, scale = standardised(data.x)
        t = data.is_rare
        design = np.concatenate((np.ones((len(t), 1)), scaled), axis=1)
        start = np.zeros(design.shape[1])
        start[0] = np.log(t.mean() / (1 - t.mean()))

        def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
            losses = focal_loss(design @ weights, t, self.gamma)
            return float(losses.loss.mean()), design.T @ losses.slope / len(t)

        found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-8}).x
        weights = found[1:] / scale

        return FocalModel(LogisticModel(float(found[0] - mean @ weights), weights), self.gamma if self.recalibrate else 0.0)
