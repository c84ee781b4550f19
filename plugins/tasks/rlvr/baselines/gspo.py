"""GSPO: clipped ratios of whole responses, since the reward is one of whole responses too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from harness import Search
from plugins.tasks.rlvr.losses import ClippedLoss, aggregate, clipped_loss, group_advantages

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner
    from plugins.tasks.rlvr.rollouts import Tokens

__all__ = ["GSPO", "sequence_clipped_loss"]


def sequence_clipped_loss(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, low: float, high: float) -> ClippedLoss:
    """
    Return ``max(-A s, -A clip(s, 1 - low, 1 + high))`` with ``s`` the geometric mean of a response's ratios: ``(B, T)``, alike on all its tokens.

    So a response is clipped as a whole, and all its tokens have one weight. Source: GSPO, arXiv:2507.18071, equations (5) and (7).

    Args:
        logp: ``(B, T)``, of the policy.
        logp_old: ``(B, T)``, of the policy that drew the tokens.
        advantages: ``(B, T)``, one value a response.
        mask: ``(B, T)``.
        low: How far ``s`` may fall below 1.
        high: How far it may rise.
    """
    mean_log_ratio = ((logp - logp_old) * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)

    return clipped_loss(mean_log_ratio.expand_as(mask), torch.zeros_like(mask), advantages, mask, low, high, None)


@dataclass
class GSPO:
    """
    GRPO with one ratio a response.

    The mean of n log-ratios spreads as ``1 / sqrt(n)``, so bounds belong to a length: the paper's 3e-4 and 4e-4 are for thousands of tokens. The curves
    show the share of tokens that are clipped in the last mini-batch of an iteration.

    Args:
        clip_low: How far a ratio may fall below 1.
        clip_high: How far it may rise.
    """

    clip_low: Annotated[float, Gt(0), Lt(1), Search(3e-4, 0.1, log=True)] = 0.03
    clip_high: Annotated[float, Gt(0), Search(4e-4, 0.15, log=True)] = 0.04

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)

        def loss(tokens: Tokens) -> Tensor:
            clipped = sequence_clipped_loss(tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, self.clip_low, self.clip_high)
            learner.log(clip_fraction=float(clipped.clip_fraction))

            return aggregate(clipped.loss, tokens.mask, "seq-mean-token-mean")

        learner.update(rollouts, group_advantages(rollouts.rewards["accuracy"], rollouts.group), loss)
