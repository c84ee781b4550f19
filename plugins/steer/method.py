"""
STEER (Hao et al., 2025, arXiv:2510.10150): each token's loss weighs the less, the more its gradient step would change the policy's entropy.

A step of policy gradient moves the logit of the sampled token; how much the entropy of its distribution changes by that follows from the advantage, the
token's probability now and when it was drawn, and the entropy. Only the size of the estimate matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from plugins.tasks.rlvr.losses import aggregate, clipped_loss, group_advantages, masked_mean

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner
    from plugins.tasks.rlvr.rollouts import Tokens

__all__ = ["Steer", "entropy_change", "exponential_weights", "linear_weights"]

SMALLEST_PROBABILITY = 1e-8
SMALLEST_LARGEST_CHANGE = 0.02  # where no token would change the entropy by more, hardly any is weighed down


def entropy_change(logp: Tensor, logp_old: Tensor, entropy: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """
    Estimate by how much a step on each token lowers the entropy, up to the learning rate: ``A / p_old x (1 - x) (log x + H)`` with ``x = exp(logp)``.

    Positive where the step makes a likely token likelier or a rare one rarer. As the authors' code has it: ``(1 - x)`` once, and no gradient.

    Args:
        logp: ``(B, T)``, of the policy now.
        logp_old: ``(B, T)``, of the policy that drew the tokens.
        entropy: ``(B, T)``, natural logarithm, of the distributions now.
        advantages: ``(B, T)``.
        mask: ``(B, T)``.

    Returns:
        ``(B, T)``, 0 outside the mask and where it is not finite.
    """
    x = logp.detach().exp().clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    old = logp_old.detach().exp().clamp(SMALLEST_PROBABILITY, 1)
    change = advantages.detach() / old * x * (1 - x) * (x.log() + entropy.detach())

    return torch.where((mask > 0) & change.isfinite(), change, torch.zeros_like(change))


def exponential_weights(change: Tensor, mask: Tensor, least: float) -> Tensor:
    """
    Return ``exp(-k |change|)``, with ``k`` such that the largest change of the batch gets ``least``: ``(B, T)``, 0 outside the mask.

    Where the largest is below 0.02, ``k`` is that of 0.02.

    Args:
        change: Of :func:`entropy_change`.
        mask: ``(B, T)``.
        least: In (0, 1]; 1 weighs all alike.
    """
    size = change.abs()
    decay = -math.log(least) / max(float((size * mask).max()), SMALLEST_LARGEST_CHANGE)

    return (-decay * size).exp().clamp(least, 1.0) * mask


def linear_weights(change: Tensor, mask: Tensor, least: float, most: float) -> Tensor:
    """
    Return weights that fall linearly from ``most`` at the smallest change of the batch to ``least`` at the largest: ``(B, T)``, 0 outside the mask.

    Where all are equal, they lie in the middle.

    Args:
        change: Of :func:`entropy_change`.
        mask: ``(B, T)``.
        least: Positive.
        most: At least ``least``.
    """
    size = change.abs()
    inside = size[mask > 0]
    low, high = (float(inside.min()), float(inside.max())) if inside.numel() else (0.0, 0.0)
    if high == low:
        return torch.full_like(size, (least + most) / 2) * mask

    return (most - (size - low) * (most - least) / (high - low)).clamp(least, most) * mask


@dataclass
class Steer:
    """
    Clip-higher GRPO whose tokens are weighed by the change of entropy that each would bring.

    The weights are those of a mini-batch: as many responses as are updated on at once. The sum is divided by the number of tokens, not by that of weights.

    Args:
        mapping: ``exponential`` is the paper's, ``linear`` a variant.
        least: Weight of the token that would change the entropy most (``lam_min``); 0.8 in the released scripts, 0.7 in the paper's main table.
        most: Largest weight of the linear mapping (``lam_max``).
        clip_low: How far a ratio may fall below 1.
        clip_high: How far it may rise.
        bound: Of the dual clip.
    """

    mapping: Literal["exponential", "linear"] = "exponential"
    least: Annotated[float, Gt(0), Le(1)] = 0.8
    most: Annotated[float, Gt(0)] = 1.0
    clip_low: Annotated[float, Gt(0), Lt(1)] = 0.2
    clip_high: Annotated[float, Gt(0)] = 0.28
    bound: Annotated[float, Ge(1)] = 10.0

    def __post_init__(self) -> None:
        if self.most < self.least:
            raise ValueError(f"most is {self.most}, below least, {self.least}")

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, take group-normalised advantages, update with weighed tokens."""
        rollouts = learner.roll_out(prompts)
        advantages = group_advantages(rollouts.rewards["accuracy"], rollouts.group)
        means: list[float] = []

        def loss(tokens: Tokens) -> Tensor:
            weights = self.weights(tokens)
            means.append(float(masked_mean(weights, tokens.mask)))
            losses = clipped_loss(
                tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, self.clip_low, self.clip_high, self.bound
            ).loss

            return aggregate(weights * losses, tokens.mask)

        learner.update(rollouts, advantages, loss)
        learner.log(mean_weight=sum(means) / len(means))

    def weights(self, tokens: Tokens) -> Tensor:
        """Return the weight of each token of a mini-batch, ``(B, T)``."""
        change = entropy_change(tokens.logp, tokens.logp_old, tokens.entropy, tokens.advantages, tokens.mask)
        if self.mapping == "exponential":
            return exponential_weights(change, tokens.mask, self.least)

        return linear_weights(change, tokens.mask, self.least, self.most)
