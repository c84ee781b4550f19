"""Demonstrations among the responses of a mini-batch: as one more response of the group (LUFFY), or imitated beside it (RL with an SFT loss)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from harness import Search
from plugins.tasks.rlvr.losses import aggregate, group_advantages, masked_mean, unclipped_loss
from plugins.tasks.rlvr.policy import response_mask
from plugins.tasks.rlvr.rollouts import Rollouts, join_rollouts

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner
    from plugins.tasks.rlvr.rollouts import Tokens

__all__ = ["LUFFY", "RLPlusSFT", "mixed_policy_loss", "reinforced_and_imitated", "roll_out_with_demonstrations"]

SHOWN = "demonstrated"  # beside the rewards: 1 for a demonstration, 0 for a response of the policy


def mixed_policy_loss(logp: Tensor, logp_old: Tensor, advantages: Tensor, shown: Tensor, shaping: float) -> Tensor:
    """
    Return ``-A r`` for the policy's own tokens and ``-A r / (r + shaping)`` for those of demonstrations: ``(B, T)``.

    Shaping lets rare tokens of demonstrations count, most of all those of ``r = shaping``. Source: LUFFY, arXiv:2504.14945.

    Args:
        logp: ``(B, T)``, of the policy.
        logp_old: ``(B, T)``, of whom wrote the tokens; 0 for demonstrations, so that ``r`` is their probability.
        advantages: ``(B, T)``.
        shown: ``(B,)``, 1 for a demonstration, 0 for a response of the policy.
        shaping: Positive (gamma).
    """
    plain = unclipped_loss(logp, logp_old, advantages)

    return torch.where(shown[:, None] > 0, plain / ((logp - logp_old).exp() + shaping), plain)


def reinforced_and_imitated(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, shown: Tensor, coefficient: float) -> Tensor:
    """
    Return ``-A r`` summed over the policy's own tokens and divided by T, plus ``coefficient`` times the mean of ``-logp`` over demonstrations' tokens.

    The divisors differ, as in LUFFY's code ("RL w/ SFT loss"), so the balance of the two depends on the batch and on T.

    Args:
        logp: ``(B, T)``, of the policy.
        logp_old: ``(B, T)``, of the policy that drew its own tokens.
        advantages: ``(B, T)``; those of demonstrations do not count.
        mask: ``(B, T)``.
        shown: ``(B,)``, 1 for a demonstration, 0 for a response of the policy.
        coefficient: Of imitation; at least 0.
    """
    demonstrated = mask * shown[:, None]
    reinforcement = aggregate(unclipped_loss(logp, logp_old, advantages), mask - demonstrated, "seq-mean-token-sum-norm")

    return reinforcement + coefficient * masked_mean(-logp, demonstrated)


def roll_out_with_demonstrations(prompts: Tensor, learner: Learner) -> Rollouts:
    """
    Let the policy answer, and join one demonstration to each group, its reward 1 and its log-probabilities by its author 0.

    The reward ``demonstrated`` says which they are; other rewards than that and ``accuracy`` are left out.
    """
    rollouts = learner.roll_out(prompts)
    responses = learner.demonstrate(prompts).responses
    learner.counts["demonstrations"] += len(responses)
    mask = response_mask(responses, learner.policy.settings.pad, learner.policy.settings.end)
    group = torch.arange(len(prompts), device=prompts.device)
    nothing, ones = torch.zeros_like(mask), torch.ones_like(mask[:, 0])
    shown = Rollouts(prompts, responses, mask, group, {"accuracy": ones, SHOWN: ones}, mask.sum(dim=1), logp=nothing, entropy=nothing)
    own = {"accuracy": rollouts.rewards["accuracy"], SHOWN: torch.zeros_like(rollouts.rewards["accuracy"])}

    return join_rollouts([replace(rollouts, rewards=own), shown])


@dataclass
class LUFFY:
    """
    Policy gradient without clipping whose groups hold one demonstration each.

    Args:
        shaping: Of a demonstration's probabilities (gamma).
        entropy_bonus: Coefficient of the mean entropy.
    """

    shaping: Annotated[float, Gt(0), Search(choices=(0.03, 0.1, 0.3))] = 0.1
    entropy_bonus: Annotated[float, Ge(0)] = 0.001

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, demonstrate, update."""
        rollouts = roll_out_with_demonstrations(prompts, learner)

        def loss(tokens: Tokens) -> Tensor:
            losses = mixed_policy_loss(tokens.logp, tokens.logp_old, tokens.advantages, tokens.rewards[SHOWN], self.shaping)

            return aggregate(losses, tokens.mask, "seq-mean-token-sum-norm") - self.entropy_bonus * masked_mean(tokens.entropy, tokens.mask)

        learner.update(rollouts, group_advantages(rollouts.rewards["accuracy"], rollouts.group, normalised=False), loss)


@dataclass
class RLPlusSFT:
    """
    Policy gradient without clipping of the policy's own responses, and the loss of imitation of a demonstration to each prompt beside it.

    Args:
        coefficient: Of imitation.
    """

    coefficient: Annotated[float, Ge(0), Search(choices=(0.01, 0.1, 1.0))] = 1.0

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, demonstrate, update on both at once."""
        rollouts = roll_out_with_demonstrations(prompts, learner)
        own = rollouts.rewards[SHOWN] == 0
        advantages = torch.zeros_like(rollouts.rewards["accuracy"])
        advantages[own] = group_advantages(rollouts.rewards["accuracy"][own], rollouts.group[own], normalised=False)

        def loss(tokens: Tokens) -> Tensor:
            shown = tokens.rewards[SHOWN]

            return reinforced_and_imitated(tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, shown, self.coefficient)

        learner.update(rollouts, advantages, loss)
