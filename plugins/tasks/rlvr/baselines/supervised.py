"""Baselines that imitate demonstrations: alone, before reinforcement, beside it, or of what is not to be forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le
from torch import Tensor

from plugins.tasks.rlvr.baselines.policy_gradient import clipped_token_mean
from plugins.tasks.rlvr.losses import group_advantages

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner

__all__ = ["SFT", "FixedInterleaving", "SFTThenRL", "UniformReplay"]


def _reinforce(prompts: Tensor, learner: Learner, clip: float) -> None:
    rollouts = learner.roll_out(prompts)
    learner.update(rollouts, group_advantages(rollouts.rewards["accuracy"], rollouts.group), clipped_token_mean(clip, clip))


@dataclass
class SFT:
    """Imitate the demonstrations of all prompts: one supervised update an iteration, no rollouts."""

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Demonstrate and imitate."""
        learner.fine_tune(learner.imitation_loss(learner.demonstrate(prompts)), len(prompts))


@dataclass
class SFTThenRL:
    """
    Imitate first, then reinforce.

    Args:
        share: Of the iterations that imitate.
        clip: How far a ratio may leave 1.
    """

    share: Annotated[float, Ge(0), Le(1)] = 0.33
    clip: Annotated[float, Gt(0)] = 0.2

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Imitate in the first iterations, roll out, verify and update in the others."""
        if learner.iteration < self.share * learner.iterations:
            learner.fine_tune(learner.imitation_loss(learner.demonstrate(prompts)), len(prompts))
        else:
            _reinforce(prompts, learner, self.clip)


@dataclass
class FixedInterleaving:
    """
    Reinforce, and imitate the demonstrations of an iteration's prompts every few iterations, whether they were hard or not.

    Args:
        every: Iterations from one supervised update to the next.
        clip: How far a ratio may leave 1.
    """

    every: Annotated[int, Ge(1)] = 3
    clip: Annotated[float, Gt(0)] = 0.2

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update; imitate where it is time."""
        _reinforce(prompts, learner, self.clip)
        if (learner.iteration + 1) % self.every == 0:
            learner.fine_tune(learner.imitation_loss(learner.demonstrate(prompts)), len(prompts))


@dataclass
class UniformReplay:
    """
    Reinforce on reasoning, then imitate demonstrations of every general skill, all with the same weight.

    Args:
        per_skill: Demonstrations of each general skill an iteration.
        clip: How far a ratio may leave 1.
    """

    per_skill: Annotated[int, Ge(1)] = 6
    clip: Annotated[float, Gt(0)] = 0.2

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update; then replay."""
        _reinforce(prompts, learner, self.clip)
        losses = [learner.imitation_loss(demonstrations) for demonstrations in learner.replay(self.per_skill).values()]
        learner.fine_tune(sum(losses[1:], start=losses[0]), self.per_skill * len(losses))
