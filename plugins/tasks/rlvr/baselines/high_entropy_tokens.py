"""The policy gradient of the few tokens at which the policy is least sure, where responses part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from harness import Search
from plugins.tasks.rlvr.baselines.policy_gradient import DAPO
from plugins.tasks.rlvr.losses import aggregate, clipped_loss, group_advantages

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner
    from plugins.tasks.rlvr.rollouts import Tokens

__all__ = ["HighEntropyTokens", "high_entropy_mask"]


def high_entropy_mask(entropy: Tensor, mask: Tensor, share: float) -> Tensor:
    """
    Return 1 for the tokens of the highest entropy, ``(B, T)``: those at or above the quantile ``1 - share`` of the entropies in the mask.

    Where fewer than ``share`` of the tokens have any entropy, all are chosen. Source: arXiv:2506.01939, equation (5), with TRL's linear quantile.

    Args:
        entropy: ``(B, T)``, of the distributions that the tokens are drawn from; only selects, so no gradient comes back.
        mask: ``(B, T)``.
        share: In (0, 1].
    """
    values = entropy.detach()
    inside = values[mask > 0]
    if len(inside) == 0:
        return torch.zeros_like(mask)

    return mask * (values >= torch.quantile(inside, 1 - share))


@dataclass
class HighEntropyTokens(DAPO):
    """
    DAPO's loss of the tokens of highest entropy in the mini-batch alone; the sum is divided by the number of all tokens.

    Args:
        clip_low: As in DAPO.
        clip_high: As in DAPO.
        bound: As in DAPO.
        share: Of the tokens that are trained on.
    """

    share: Annotated[float, Gt(0), Le(1), Search(choices=(0.1, 0.2, 0.5))] = 0.2

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)

        def loss(tokens: Tokens) -> Tensor:
            losses = clipped_loss(
                tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, self.clip_low, self.clip_high, self.bound
            ).loss

            return aggregate(high_entropy_mask(tokens.entropy, tokens.mask, self.share) * losses, tokens.mask)

        learner.update(rollouts, group_advantages(rollouts.rewards["accuracy"], rollouts.group), loss)
