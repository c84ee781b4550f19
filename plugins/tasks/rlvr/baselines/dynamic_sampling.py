"""DAPO whole: updates on groups whose responses differ in accuracy, kept until there are enough, and a penalty on responses that are nearly too long."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from harness import Search
from plugins.tasks.rlvr.baselines.policy_gradient import DAPO, clipped_token_mean
from plugins.tasks.rlvr.losses import group_advantages, group_means
from plugins.tasks.rlvr.rollouts import Rollouts, join_rollouts, select_responses

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner

__all__ = ["DynamicDAPO", "are_mixed", "overlong_shaping"]


def are_mixed(accuracy: Tensor, group: Tensor) -> Tensor:
    """Return for each of ``(B,)`` responses whether its group is neither all right nor all wrong; the others have no advantage."""
    means = group_means(accuracy, group)

    return (means > 0) & (means < 1)


def overlong_shaping(lengths: Tensor, limit: int, buffer: float) -> Tensor:
    """
    Return what is added to the reward of a response, ``(B,)``: 0 up to ``limit - buffer`` tokens, from there linearly down to -1 at the limit.

    Source: DAPO, arXiv:2503.14476, equation (13).

    Args:
        lengths: ``(B,)``, tokens, the end included; a response without an end has ``limit``.
        limit: Tokens of a response, at most.
        buffer: Positive.
    """
    return -((lengths - (limit - buffer)) / buffer).clamp(min=0)


@dataclass
class DynamicDAPO(DAPO):
    """
    DAPO with dynamic sampling and overlong shaping.

    The number of rollouts is the suite's, so groups are filled up by the iterations that follow: nothing is updated until there are enough mixed groups,
    or ``rounds`` iterations have passed, or the last is there. What is waiting was therefore drawn by the policy as it is.

    Args:
        clip_low: As in DAPO.
        clip_high: As in DAPO.
        bound: As in DAPO.
        share: Mixed groups of a batch, as a share of the prompts of an iteration; those beyond are dropped.
        rounds: Iterations after which a batch that is not full is updated on.
        buffer: Of :func:`overlong_shaping`, as a share of the longest response; 0 for none.
    """

    share: Annotated[float, Gt(0), Le(1), Search(choices=(1 / 3, 0.5, 1.0))] = 1 / 3
    rounds: Annotated[int, Ge(1)] = 3
    buffer: Annotated[float, Ge(0), Le(1), Search(choices=(0.0, 0.1, 0.2))] = 0.0

    def __post_init__(self) -> None:
        self._waiting: list[Rollouts] = []

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, keep the mixed groups; update where there are enough."""
        rollouts = learner.roll_out(prompts)
        numbered = replace(rollouts, group=rollouts.group + len(prompts) * len(self._waiting))
        self._waiting.append(select_responses(numbered, are_mixed(rollouts.rewards["accuracy"], rollouts.group)))
        wanted = math.ceil(self.share * len(prompts)) * learner.settings.group_size
        found = sum(len(part.responses) for part in self._waiting)
        learner.log(mixed_groups=float(found // learner.settings.group_size))
        if found < wanted and len(self._waiting) < self.rounds and learner.iteration + 1 < learner.iterations:
            return
        batch, self._waiting = join_rollouts(self._waiting), []
        if found < learner.settings.minibatches:
            return  # none of the mini-batches may be empty
        batch = select_responses(batch, torch.arange(min(found, wanted), device=prompts.device))
        learner.update(batch, self._advantages(batch, learner), clipped_token_mean(self.clip_low, self.clip_high, self.bound))

    def _advantages(self, batch: Rollouts, learner: Learner) -> Tensor:
        rewards = batch.rewards["accuracy"]
        limit = learner.policy.settings.response_length
        if self.buffer > 0:
            rewards = rewards + overlong_shaping(batch.lengths, limit, self.buffer * limit)

        return group_advantages(rewards, batch.group)
