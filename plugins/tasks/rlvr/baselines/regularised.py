"""GRPO held back: a bonus for entropy, a penalty on the divergence from the base policy, and two treatments of the tokens that drive entropy down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from plugins.tasks.rlvr.losses import (
    KlEstimator,
    aggregate,
    clip_cov_loss,
    clipped_loss,
    group_advantages,
    kl_cov_loss,
    kl_estimate,
    masked_mean,
)

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner
    from plugins.tasks.rlvr.rollouts import Tokens

__all__ = ["ClipCov", "EntropyBonus", "KlCov", "KlPenalty", "covariance_bounds"]


def covariance_bounds(tokens: Tokens, quantiles: tuple[float, float]) -> tuple[float, float]:
    """Return the covariances of advantage and log-probability between which the given shares of a mini-batch's tokens lie."""
    advantages, logp = (values.detach() - masked_mean(values.detach(), tokens.mask) for values in (tokens.advantages, tokens.logp))
    inside = (advantages * logp)[tokens.mask > 0]
    low, high = torch.quantile(inside, inside.new_tensor(quantiles)).tolist()

    return low, high


@dataclass
class EntropyBonus:
    """
    GRPO with the policy's entropy added to what is maximised.

    Args:
        coefficient: Of the mean entropy; 0.001 at the papers' scale, 0.01 to 0.02 here.
        clip: How far a ratio may leave 1.
    """

    coefficient: Annotated[float, Ge(0)] = 0.02
    clip: Annotated[float, Gt(0)] = 0.2

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)

        def loss(tokens: Tokens) -> Tensor:
            losses = clipped_loss(tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, self.clip, self.clip, None).loss

            return aggregate(losses, tokens.mask) - self.coefficient * masked_mean(tokens.entropy, tokens.mask)

        learner.update(rollouts, group_advantages(rollouts.rewards["accuracy"], rollouts.group), loss)


@dataclass
class KlPenalty:
    """
    GRPO with an estimate of the divergence from the base policy added to the loss.

    Args:
        coefficient: Of the penalty; 0.001 at the papers' scale, 0.05 here.
        estimator: ``k3`` is GRPO's; ``k2`` has the gradient of the divergence on the policy's own samples.
        clip: How far a ratio may leave 1.
    """

    coefficient: Annotated[float, Ge(0)] = 0.05
    estimator: Literal["k1", "abs", "k2", "k3"] = "k3"
    clip: Annotated[float, Gt(0)] = 0.2

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)
        estimator: KlEstimator = self.estimator

        def loss(tokens: Tokens) -> Tensor:
            losses = clipped_loss(tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, self.clip, self.clip, None).loss

            return aggregate(losses + self.coefficient * kl_estimate(tokens.logp, tokens.require_base(), estimator), tokens.mask)

        learner.update(rollouts, group_advantages(rollouts.rewards["accuracy"], rollouts.group), loss, with_base=True)


@dataclass
class ClipCov:
    """
    Leave a random few of the tokens out whose advantage and log-probability vary together most.

    The paper takes a share of 2e-4 of covariances between 1 and 5, which in batches of a thousand tokens are none: here the share is larger, and the bounds are
    quantiles of the mini-batch.

    Args:
        share: Of the tokens that are left out.
        low: Quantile of the covariances above which a token may be.
        high: Quantile below which.
        clip: How far a ratio may leave 1.
    """

    share: Annotated[float, Gt(0), Le(1)] = 0.01
    low: Annotated[float, Ge(0), Le(1)] = 0.9
    high: Annotated[float, Ge(0), Le(1)] = 1.0
    clip: Annotated[float, Gt(0)] = 0.2

    def __post_init__(self) -> None:
        if self.high <= self.low:
            raise ValueError(f"high is {self.high}, not above low, {self.low}")
        self._generator: torch.Generator | None = None

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        generator = self._generator = self._generator or learner.run.torch_rng("clip_cov")
        rollouts = learner.roll_out(prompts)

        def loss(tokens: Tokens) -> Tensor:
            between = covariance_bounds(tokens, (self.low, self.high))
            losses = clip_cov_loss(
                tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, generator, self.share, between, self.clip, self.clip
            )

            return aggregate(losses, tokens.mask)

        learner.update(rollouts, group_advantages(rollouts.rewards["accuracy"], rollouts.group), loss)


@dataclass
class KlCov:
    """
    Penalise the tokens whose advantage and log-probability vary together most for leaving the policy that drew them; nothing is clipped.

    Args:
        share: Of the tokens that are penalised; 2e-4 at the papers' scale.
        coefficient: Of the penalty.
    """

    share: Annotated[float, Gt(0), Le(1)] = 0.01
    coefficient: Annotated[float, Ge(0)] = 1.0

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)

        def loss(tokens: Tokens) -> Tensor:
            losses = kl_cov_loss(tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, self.share, self.coefficient)

            return aggregate(losses, tokens.mask)

        learner.update(rollouts, group_advantages(rollouts.rewards["accuracy"], rollouts.group), loss)
