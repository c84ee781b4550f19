"""Policy gradients without clipping, which differ in what a reward is compared with; and GRPO, clipped, with its variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Lt
from torch import Tensor

from plugins.tasks.rlvr.losses import (
    Aggregation,
    aggregate,
    clipped_loss,
    group_advantages,
    leave_one_out_advantages,
    length_weighted_advantages,
    reinforce_pp_advantages,
    unclipped_loss,
)

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner
    from plugins.tasks.rlvr.rollouts import Tokens

__all__ = ["DAPO", "GRPO", "OPO", "RLOO", "DrGRPO", "Reinforce", "ReinforcePP", "clipped_token_mean"]


def clipped_token_mean(low: float, high: float, bound: float | None = None, how: Aggregation = "token-mean") -> Callable[[Tokens], Tensor]:
    """Return the loss of a mini-batch: :func:`plugins.tasks.rlvr.losses.clipped_loss`, aggregated."""

    def loss(tokens: Tokens) -> Tensor:
        losses = clipped_loss(tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, low, high, bound).loss

        return aggregate(losses, tokens.mask, how)

    return loss


def unclipped_token_mean(tokens: Tokens) -> Tensor:
    """Return the mean of ``-A r`` over the tokens of a mini-batch."""
    return aggregate(unclipped_loss(tokens.logp, tokens.logp_old, tokens.advantages), tokens.mask)


@dataclass
class Reinforce:
    """
    Raise the log-probability of responses by their reward, or by how much it exceeds the mean of the batch.

    Args:
        baseline: What a reward is compared with: nothing, or the mean of the batch.
    """

    baseline: Literal["none", "batch_mean"] = "batch_mean"

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)
        rewards = rollouts.rewards["accuracy"]
        learner.update(rollouts, rewards if self.baseline == "none" else rewards - rewards.mean(), unclipped_token_mean)


@dataclass
class RLOO:
    """Compare each reward with the mean of the others to the same prompt."""

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)
        learner.update(rollouts, leave_one_out_advantages(rollouts.rewards["accuracy"], rollouts.group), unclipped_token_mean)


@dataclass
class OPO:
    """Compare each reward with the mean of its prompt's, weighted by the responses' lengths, which lowers the variance of the gradient."""

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)
        advantages = length_weighted_advantages(rollouts.rewards["accuracy"], rollouts.group, rollouts.lengths)
        learner.update(rollouts, advantages, unclipped_token_mean)


@dataclass
class ReinforcePP:
    """
    Whiten the returns of all tokens over the batch, with clipping as PPO has it.

    Args:
        centred: Whether rewards are centred in their groups before (the variant "baseline").
        clip: How far a ratio may leave 1.
    """

    centred: bool = False
    clip: Annotated[float, Gt(0)] = 0.2

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)
        advantages = reinforce_pp_advantages(rollouts.rewards["accuracy"], rollouts.mask, group=rollouts.group if self.centred else None)
        learner.update(rollouts, advantages, clipped_token_mean(self.clip, self.clip))


@dataclass
class GRPO:
    """
    Standardise the rewards to a prompt, and clip the ratios.

    Args:
        clip: How far a ratio may leave 1.
        aggregation: ``token-mean`` over the batch, or first over each response, as the first paper has it.
    """

    clip: Annotated[float, Gt(0)] = 0.2
    aggregation: Literal["token-mean", "seq-mean-token-mean"] = "token-mean"

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)
        advantages = group_advantages(rollouts.rewards["accuracy"], rollouts.group)
        learner.update(rollouts, advantages, clipped_token_mean(self.clip, self.clip, how=self.aggregation))


@dataclass
class DrGRPO:
    """
    Centre the rewards to a prompt without dividing by their deviation, and divide the sum of the losses by a constant.

    Args:
        clip: How far a ratio may leave 1.
    """

    clip: Annotated[float, Gt(0)] = 0.2

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)
        advantages = group_advantages(rollouts.rewards["accuracy"], rollouts.group, normalised=False)
        learner.update(rollouts, advantages, clipped_token_mean(self.clip, self.clip, how="seq-mean-token-sum-norm"))


@dataclass
class DAPO:
    """
    Clip ratios that rise later than ratios that fall, so that rare tokens can grow.

    Dynamic sampling, the other part of DAPO, is not here: the number of rollouts is the suite's.

    Args:
        clip_low: How far a ratio may fall below 1.
        clip_high: How far it may rise.
        bound: Of the dual clip.
    """

    clip_low: Annotated[float, Gt(0), Lt(1)] = 0.2
    clip_high: Annotated[float, Gt(0)] = 0.28
    bound: Annotated[float, Ge(1)] = 10.0

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)
        advantages = group_advantages(rollouts.rewards["accuracy"], rollouts.group)
        learner.update(rollouts, advantages, clipped_token_mean(self.clip_low, self.clip_high, self.bound))
