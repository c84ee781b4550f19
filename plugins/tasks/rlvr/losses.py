"""
Advantages, policy losses and regularisers of reinforcement learning with verifiable rewards, as pure functions.

One scalar reward a response, given at its last token. B responses of at most T tokens; a mask is 1 on the tokens of a response, its end included. Conventions
follow verl 0.4, of which most methods' code is a fork; each function names its paper.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Aggregation",
    "ClippedLoss",
    "KlEstimator",
    "adapt_kl_coefficient",
    "aggregate",
    "clip_cov_loss",
    "clipped_loss",
    "generalised_advantages",
    "group_advantages",
    "group_means",
    "kl_cov_loss",
    "kl_estimate",
    "leave_one_out_advantages",
    "length_weighted_advantages",
    "masked_mean",
    "masked_whiten",
    "reinforce_pp_advantages",
    "unclipped_loss",
    "value_loss",
]

Aggregation = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]
KlEstimator = Literal["k1", "abs", "k2", "k3"]

GROUP_EPSILON = 1e-6
MASK_EPSILON = 1e-8
LARGEST_LOG_RATIO = 20.0  # of which a ratio is taken
LARGEST_KL = 10.0  # of a token, for k3


# Advantages


def group_means(values: Tensor, group: Tensor) -> Tensor:
    """Return for each of ``(B,)`` values the mean of its group."""
    _, index = torch.unique(group, return_inverse=True)
    count = torch.zeros(int(index.max()) + 1, dtype=values.dtype, device=values.device).index_add_(0, index, torch.ones_like(values))
    total = torch.zeros_like(count).index_add_(0, index, values)

    return (total / count)[index]


def group_advantages(rewards: Tensor, group: Tensor, normalised: bool = True) -> Tensor:
    """
    Return each reward less the mean of its group, over its unbiased standard deviation plus 1e-6: ``(B,)``.

    A group of one keeps its reward; a group of equal rewards has no advantage. Source: GRPO, arXiv:2402.03300; without the deviation, Dr. GRPO,
    arXiv:2503.20783.

    Args:
        rewards: ``(B,)``.
        group: ``(B,)``, which responses answer one prompt.
        normalised: Whether to divide.
    """
    size = _group_sizes(group, rewards.dtype)
    centred = torch.where(size > 1, rewards - group_means(rewards, group), rewards)
    if not normalised:
        return centred
    variance = group_means((rewards - group_means(rewards, group)).square(), group) * size / (size - 1).clamp(min=1)

    return centred / torch.where(size > 1, variance.sqrt() + GROUP_EPSILON, torch.ones_like(size))


def leave_one_out_advantages(rewards: Tensor, group: Tensor) -> Tensor:
    """Return each reward less the mean of the others of its group, ``(B,)``; a group of one keeps its reward. Source: RLOO, arXiv:2402.14740."""
    size = _group_sizes(group, rewards.dtype)
    centred = (rewards - group_means(rewards, group)) * size / (size - 1).clamp(min=1)

    return torch.where(size > 1, centred, rewards)


def length_weighted_advantages(rewards: Tensor, group: Tensor, lengths: Tensor) -> Tensor:
    """Return each reward less the mean of its group weighted by length, ``(B,)``. Source: OPO, arXiv:2505.23585."""
    weights = lengths.to(rewards.dtype)

    return rewards - group_means(rewards * weights, group) / group_means(weights, group)


def reinforce_pp_advantages(rewards: Tensor, mask: Tensor, discount: float = 1.0, group: Tensor | None = None) -> Tensor:
    """
    Return the returns of all tokens, whitened over the batch: ``(B, T)``. Source: REINFORCE++, arXiv:2501.03262.

    Args:
        rewards: ``(B,)``, of the last token.
        mask: ``(B, T)``.
        discount: Of a step.
        group: Where it is given, rewards are first centred in their groups (the variant "baseline").
    """
    centred = rewards if group is None else rewards - group_means(rewards, group)
    left = mask.sum(dim=1, keepdim=True) - mask.cumsum(dim=1)  # tokens behind
    returns = centred[:, None] * discount**left if group is None else centred[:, None].expand_as(mask)

    return masked_whiten(returns * mask, mask) * mask


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, discount: float = 1.0, smoothing: float = 0.95
) -> tuple[Tensor, Tensor]:
    """
    Return whitened advantages and returns, ``(B, T)`` each. Source: GAE, arXiv:1506.02438.

    Args:
        rewards: ``(B,)``, of the last token.
        values: ``(B, T)``, of a critic; those behind the end count as verl 0.4 has it, so set them to 0 where they should not.
        mask: ``(B, T)``.
        discount: gamma.
        smoothing: lambda.
    """
    last = mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True)
    at_token = torch.where(last & (mask > 0), rewards[:, None], torch.zeros_like(values))
    advantage = following = torch.zeros_like(rewards)
    advantages = torch.zeros_like(values)
    for t in reversed(range(values.shape[1])):
        advantage = at_token[:, t] + discount * following - values[:, t] + discount * smoothing * advantage
        following = values[:, t]
        advantages[:, t] = advantage

    return masked_whiten(advantages, mask), advantages + values


# Losses of tokens


class ClippedLoss(NamedTuple):
    """
    The loss of each token, and how often clipping acts.

    Args:
        loss: ``(B, T)``.
        clip_fraction: Share of the tokens whose ratio is clipped.
        lower_fraction: Share of those whose loss the dual clip bounds.
    """

    loss: Tensor
    clip_fraction: Tensor
    lower_fraction: Tensor


def clipped_loss(
    logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, low: float = 0.2, high: float = 0.2, bound: float | None = 3.0
) -> ClippedLoss:
    """
    Return ``max(-A r, -A clip(r, 1 - low, 1 + high))``, for negative advantages at most ``-A bound``.

    Source: PPO, arXiv:1707.06347; dual clip, arXiv:1912.09729; ``high > low`` is "clip-higher" of DAPO, arXiv:2503.14476.

    Args:
        logp: ``(B, T)``, of the policy.
        logp_old: ``(B, T)``, of the policy that drew the tokens.
        advantages: ``(B, T)``.
        mask: ``(B, T)``.
        low: How far a ratio may fall below 1.
        high: How far it may rise.
        bound: Of the dual clip, above 1; ``None`` for none.
    """
    ratio = _ratio(logp, logp_old)
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - low, 1 + high)
    loss = torch.maximum(plain, clipped)
    bounded = torch.zeros_like(loss, dtype=torch.bool)
    if bound is not None:
        most = -advantages * bound
        bounded = (advantages < 0) & (most < loss)
        loss = torch.where(advantages < 0, torch.minimum(loss, most), loss)

    return ClippedLoss(loss, masked_mean((clipped > plain).to(loss.dtype), mask), masked_mean(bounded.to(loss.dtype), mask))


def unclipped_loss(logp: Tensor, logp_old: Tensor, advantages: Tensor) -> Tensor:
    """Return ``-A r``, ``(B, T)``; where the policy drew the tokens itself its gradient is that of REINFORCE."""
    return -advantages * _ratio(logp, logp_old)


def clip_cov_loss(
    logp: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    generator: torch.Generator,
    share: float = 2e-4,
    between: tuple[float, float] = (1.0, 5.0),
    low: float = 0.2,
    high: float = 0.2,
) -> Tensor:
    """
    Return :func:`clipped_loss` without a random few of the tokens whose advantage and log-probability vary together: ``(B, T)``.

    Source: Clip-Cov, arXiv:2505.22617.

    Args:
        logp: See :func:`clipped_loss`.
        logp_old: See there.
        advantages: See there.
        mask: See there.
        generator: Of the CPU; draws which.
        share: Of the tokens, rounded down, one at least.
        between: Bounds of their covariance ``(A - mean A)(logp - mean logp)``.
        low: See :func:`clipped_loss`.
        high: See there.
    """
    covariance = _covariance(logp, advantages, mask)
    ratio = _ratio(logp, logp_old)
    untouched = -advantages * ratio >= -advantages * ratio.clamp(1 - low, 1 + high)
    candidates = ((covariance > between[0]) & (covariance < between[1]) & untouched & (mask > 0)).flatten().nonzero().squeeze(1)
    count = max(1, int(share * float(mask.sum())))
    chosen = candidates[torch.randperm(len(candidates), generator=generator).to(candidates.device)[:count]]
    kept = torch.ones_like(mask).flatten().index_fill(0, chosen, 0.0).view_as(mask)

    return clipped_loss(logp, logp_old, advantages, mask, low, high, None).loss * kept


def kl_cov_loss(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, share: float = 2e-4, coefficient: float = 1.0) -> Tensor:
    """
    Return ``-A r``, plus ``coefficient |logp - logp_old|`` for the tokens of the largest covariance: ``(B, T)``. Source: KL-Cov, arXiv:2505.22617.

    Args:
        logp: See :func:`clipped_loss`.
        logp_old: See there.
        advantages: See there.
        mask: See there.
        share: Of the tokens, rounded down, one at least.
        coefficient: Of the penalty.
    """
    covariance = _covariance(logp, advantages, mask).masked_fill(mask == 0, -torch.inf).flatten()
    count = max(1, int(share * float(mask.sum())))
    penalised = torch.zeros_like(covariance).index_fill(0, covariance.topk(count).indices, 1.0).view_as(mask)

    return unclipped_loss(logp, logp_old, advantages) + penalised * coefficient * (logp - logp_old).abs()


def kl_estimate(logp: Tensor, reference: Tensor, estimator: KlEstimator) -> Tensor:
    """
    Estimate the divergence from the reference policy by each token that the policy drew: ``(B, T)``.

    ``k1`` is ``logp - reference``, ``abs`` its magnitude, ``k2`` half its square, ``k3`` is ``exp(-d) + d - 1``, clamped to 10 in magnitude.
    """
    difference = logp - reference
    if estimator == "k1":
        return difference
    if estimator == "abs":
        return difference.abs()
    if estimator == "k2":
        return difference.square() / 2
    opposite = (-difference).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)

    return (opposite.exp() - opposite - 1).clamp(-LARGEST_KL, LARGEST_KL)


def value_loss(values: Tensor, values_old: Tensor, returns: Tensor, mask: Tensor, clip: float = 0.5) -> Tensor:
    """Return half the mean of the larger of the squared errors of the critic and of the critic held within ``clip`` of what it was."""
    held = torch.clamp(values, values_old - clip, values_old + clip)

    return 0.5 * masked_mean(torch.maximum((values - returns).square(), (held - returns).square()), mask)


def adapt_kl_coefficient(coefficient: float, kl: float, target: float, horizon: float, n_steps: int) -> float:
    """Return the coefficient after a step: it grows where the divergence exceeds its target, by a fifth of ``n_steps / horizon`` at most."""
    error = min(max(kl / target - 1, -0.2), 0.2)

    return coefficient * (1 + error * n_steps / horizon)


# Sums


def aggregate(loss: Tensor, mask: Tensor, how: Aggregation = "token-mean") -> Tensor:
    """
    Reduce the losses of tokens, ``(B, T)``, to a scalar.

    ``token-mean`` divides by the tokens of the batch (DAPO), ``seq-mean-token-mean`` averages each response first (GRPO), ``seq-mean-token-sum`` sums it, and
    ``seq-mean-token-sum-norm`` sums everything and divides by T alone (Dr. GRPO as its code has it), so that it grows with the batch.
    """
    if how == "token-mean":
        return masked_mean(loss, mask)
    sums = (loss * mask).sum(dim=1)
    if how == "seq-mean-token-mean":
        return (sums / mask.sum(dim=1).clamp(min=1)).mean()
    if how == "seq-mean-token-sum":
        return sums.mean()

    return sums.sum() / mask.shape[1]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the tokens of the mask; 0 where there is none."""
    return (values * mask).sum() / (mask.sum() + MASK_EPSILON)


def masked_whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Return values less their mean over the mask, over their unbiased standard deviation (plus 1e-8 in the variance)."""
    n = mask.sum()
    mean = (values * mask).sum() / n.clamp(min=1)
    variance = ((values - mean).square() * mask).sum() / (n - 1).clamp(min=1)

    return (values - mean) / (variance + MASK_EPSILON).sqrt()


def _ratio(logp: Tensor, logp_old: Tensor) -> Tensor:
    return (logp - logp_old).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()


def _covariance(logp: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    n = mask.sum()
    centred = [values - (values * mask).sum() / n for values in (advantages, logp.detach())]

    return centred[0] * centred[1]


def _group_sizes(group: Tensor, dtype: torch.dtype) -> Tensor:
    _, index, counts = torch.unique(group, return_inverse=True, return_counts=True)
    sizes: Tensor = counts[index].to(dtype)

    return sizes
