"""Reinforcement by right and by wrong responses, each with a weight of its own and without a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt
from torch import Tensor

from harness import Search
from plugins.tasks.rlvr.baselines.policy_gradient import clipped_token_mean
from plugins.tasks.rlvr.rollouts import select_responses

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner

__all__ = ["WReinforce", "signed_advantages"]


def signed_advantages(correct: Tensor, right: float, wrong: float) -> Tensor:
    """
    Return ``right`` for right responses and ``-wrong`` for wrong ones, ``(B,)``. Source: W-REINFORCE, arXiv:2506.01347.

    Args:
        correct: ``(B,)``, 1 or 0.
        right: At least 0.
        wrong: At least 0.

    Raises:
        ValueError: A value is neither 1 nor 0.
    """
    if not bool(((correct == 0) | (correct == 1)).all()):
        raise ValueError("a response is right or wrong here, 1 or 0; this verifier gives shares")

    return right * correct - wrong * (1 - correct)


@dataclass
class WReinforce:
    """
    Raise what is right a little and lower what is wrong, so that the policy keeps its variety.

    Responses of weight 0 are left out of the batch, so ``wrong: 0`` is positive sample reinforcement (PSR) and ``right: 0`` negative (NSR). An iteration
    with fewer responses than mini-batches makes no update.

    Args:
        right: Weight of right responses (lambda).
        wrong: Weight of wrong ones.
        clip: How far a ratio may leave 1.
    """

    right: Annotated[float, Ge(0), Search(choices=(0.0, 0.03, 0.1, 0.3, 1.0))] = 0.1
    wrong: Annotated[float, Ge(0)] = 1.0
    clip: Annotated[float, Gt(0)] = 0.2

    def __post_init__(self) -> None:
        if self.right == self.wrong == 0:
            raise ValueError("right and wrong are both 0: nothing would be learned")

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update."""
        rollouts = learner.roll_out(prompts)
        advantages = signed_advantages(rollouts.rewards["accuracy"], self.right, self.wrong)
        weighed = advantages != 0
        if int(weighed.sum()) >= learner.settings.minibatches:
            learner.update(select_responses(rollouts, weighed), advantages[weighed], clipped_token_mean(self.clip, self.clip))
