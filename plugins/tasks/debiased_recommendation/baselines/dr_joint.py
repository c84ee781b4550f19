"""Doubly robust joint learning, and the imputation losses that its successors put in the place of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le
from torch import Tensor

from harness import Search
from plugins.tasks.debiased_recommendation.propensities import naive_bayes, normalised
from plugins.tasks.debiased_recommendation.rating_losses import Predicted, fit_doubly_robust
from plugins.tasks.debiased_recommendation.rating_models import PairBatch, RatingBatch

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings
    from plugins.tasks.debiased_recommendation.rating_models import RatingFit

__all__ = ["DRJL", "DRMSE", "MRDR", "DRBias", "bias_factors", "mixed_factors", "variance_factors"]


def variance_factors(inverse: Tensor) -> Tensor:
    """Return ``w^2 (1 - 1 / w)`` for inverse propensities w of at least 1: what the variance of the estimator weighs imputed errors with."""
    return inverse**2 * (1 - 1 / inverse)


def bias_factors(inverse: Tensor) -> Tensor:
    """Return ``w^3 (1 - 1 / w)^2`` for inverse propensities w of at least 1: what a bound of the bias weighs imputed errors with."""
    return inverse**3 * (1 - 1 / inverse) ** 2


def mixed_factors(inverse: Tensor, share: float) -> Tensor:
    """Return ``share`` of :func:`bias_factors` and the rest of :func:`variance_factors`."""
    return share * bias_factors(inverse) + (1 - share) * variance_factors(inverse)


@dataclass
class DRJL:
    """Doubly robust joint learning (Wang et al. 2019): the imputation model minimises ``sum_B w (e - e^)^2`` along the way."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train both models in turn."""
        return _fit(data, run, lambda inverse: inverse)


@dataclass
class MRDR:
    """More robust doubly robust learning (Guo et al. 2021): imputed errors are weighed with :func:`variance_factors`."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train both models in turn."""
        return _fit(data, run, variance_factors)


@dataclass
class DRBias:
    """DR-BIAS (Dai et al. 2022): imputed errors are weighed with :func:`bias_factors`."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train both models in turn."""
        return _fit(data, run, bias_factors)


@dataclass
class DRMSE:
    """
    DR-MSE (Dai et al. 2022): imputed errors are weighed with :func:`mixed_factors`.

    Args:
        bias_share: Of the bias against the variance; 1 is DR-BIAS, 0 MRDR.
    """

    bias_share: Annotated[float, Ge(0), Le(1), Search(0.0, 1.0)] = 0.5

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train both models in turn."""
        return _fit(data, run, lambda inverse: mixed_factors(inverse, self.bias_share))


def _fit(data: ObservedRatings, run: Run, factors: Callable[[Tensor], Tensor]) -> RatingFit:
    inverse = 1 / naive_bayes(data)  # at least 1: the factors are about inverse probabilities, whatever the scale of the weights is
    scale = float(inverse.mean())
    weights = normalised(inverse)
    on_device = weights.to(run.device)

    def weigh(batch: RatingBatch, pairs: PairBatch, predicted: Predicted) -> Tensor:
        return on_device[batch.index]

    return fit_doubly_robust(data, run, weigh, lambda w: factors((w * scale).clamp(min=1)), lambda: weights)
