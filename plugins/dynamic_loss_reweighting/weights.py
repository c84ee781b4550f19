"""
The weights of dynamic loss reweighting (Sow et al., 2025, arXiv:2502.06733): a function of the losses of one batch and of nothing else.

Losses are brought to [-δ, δ] by the least and the greatest of the batch, a strategy scores them there, and weights are a softmax of the scores.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

__all__ = ["Strategy", "relative_losses", "step_weights", "strategy_scores", "trainer_loss", "weighted_loss"]

Strategy = Literal["linupper", "quadratic", "extremes", "half_linear"]

LEAST_RANGE = 1e-6  # of the losses of a batch: equal ones get equal weights


def relative_losses(losses: Tensor, delta: float = 1.0) -> Tensor:
    """
    Return ``h = δ (2 l - l_max - l_min) / R`` with ``R = max(l_max - l_min, 1e-6)``: ``(M,)`` in [-δ, δ].

    Args:
        losses: ``(M,)``, those of the whole batch, over all devices: another part has another least and greatest loss.
        delta: δ, above 0.
    """
    low, high = losses.min(), losses.max()

    return (2 * losses - (high + low)) * delta / (high - low).clamp(min=LEAST_RANGE)


def strategy_scores(h: Tensor, strategy: Strategy, delta: float = 1.0) -> Tensor:
    """
    Return the score of each relative loss, ``(M,)``.

    - ``linupper``: ``min(h + δ, δ)``, which rises up to the middle of the range and stays there;
    - ``quadratic``: ``1 - h² / δ²``, which favours the middle;
    - ``extremes``: ``|h|``, which favours both ends;
    - ``half_linear``: ``(h + δ) / 2``, which rises over the whole range. One of the authors' trainers calls it ``upper``; the other means ``linupper`` by that.

    Args:
        h: ``(M,)``, of :func:`relative_losses`.
        strategy: Which.
        delta: The same δ.
    """
    match strategy:
        case "linupper":
            return (h + delta).clamp(max=delta)
        case "quadratic":
            return 1 - (h / delta).square()
        case "extremes":
            return h.abs()
        case "half_linear":
            return (h + delta) / 2
    raise ValueError(f"there is no strategy '{strategy}'; the strategies are linupper, quadratic, extremes and half_linear")


def step_weights(losses: Tensor, strategy: Strategy = "linupper", r: float = 1.0, delta: float = 1.0) -> Tensor:
    """
    Return ``softmax(s / r)`` over the batch, ``(M,)``: positive, summing to 1, without gradient.

    Adding a constant to all losses changes nothing, nor does multiplying them by a positive one. As r grows the weights become equal.

    Args:
        losses: ``(M,)``, of the whole batch.
        strategy: How a relative loss is scored.
        r: Temperature, above 0.
        delta: Half of the range of relative losses.
    """
    scores = strategy_scores(relative_losses(losses.detach(), delta), strategy, delta)

    return (scores / r).softmax(dim=0)


def weighted_loss(losses: Tensor, weights: Tensor) -> Tensor:
    """Return ``sum_i w_i l_i`` of ``(M,)`` and ``(M,)``. No factor M: with equal weights it is the mean."""
    return (weights * losses).sum()


def trainer_loss(losses: Tensor, active: Tensor, weights: Tensor) -> Tensor:
    """
    Return ``M sum_i w_i (n_i / sum_j n_j) l_i``, in which a sample counts with its length besides; the same number where all lengths are equal.

    Args:
        losses: ``(M,)``.
        active: ``(M,)``, n: the tokens that each loss is the mean of.
        weights: ``(M,)``, of :func:`step_weights`.
    """
    share = active.to(losses.dtype) / active.sum()

    return len(losses) * (weights * share * losses).sum()
