"""
ReLIFT (Ma et al., 2025, arXiv:2506.07527): reinforcement learning that stops now and then to be shown the questions that it never answers.

A prompt all of whose responses fail goes into a buffer; as soon as the buffer holds enough, one supervised update is made on their demonstrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from plugins.tasks.rlvr.losses import aggregate, group_advantages, masked_mean, unclipped_loss

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner
    from plugins.tasks.rlvr.rollouts import Rollouts, Tokens

__all__ = ["HardestBuffer", "ReLIFT", "are_hardest"]

Item = TypeVar("Item")


def are_hardest(rewards: Tensor, fail: float = 0.0) -> Tensor:
    """Return for each prompt whether all of its responses failed: ``(n,)`` bool from rewards ``(n, G)`` in which a failure is exactly ``fail``."""
    return (rewards == fail).all(dim=1)


@dataclass
class HardestBuffer(Generic[Item]):
    """
    Prompts that no response has solved, newest first.

    Args:
        size: How many make a batch (``M``).
    """

    size: int
    items: list[Item] = field(default_factory=list)

    def push(self, newest: Sequence[Item]) -> None:
        """Put a step's hardest prompts in front, in their order."""
        self.items = [*newest, *self.items]

    def take(self) -> list[Item]:
        """Take the first ``size`` prompts, or none where there are fewer."""
        if len(self.items) < self.size:
            return []
        taken, self.items = self.items[: self.size], self.items[self.size :]

        return taken


@dataclass
class ReLIFT:
    """
    Reinforcement without clipping or normalisation, interleaved with fine-tuning on the hardest questions.

    Args:
        batch: Prompts of a fine-tuning batch (``M``).
        fine_tuning_rate: Learning rate of its own optimiser, AdamW with decay 0.01.
        entropy_bonus: Of both losses.
        gradient_norm: What the norm of a gradient of reinforcement is cut at.
        fine_tuning_norm: What that of fine-tuning is cut at.
    """

    batch: Annotated[int, Ge(1)] = 16
    fine_tuning_rate: Annotated[float, Gt(0)] = 5e-4
    entropy_bonus: Annotated[float, Ge(0)] = 0.001
    gradient_norm: Annotated[float, Gt(0)] = 0.7
    fine_tuning_norm: Annotated[float, Gt(0)] = 1.0

    def __post_init__(self) -> None:
        self._buffer: HardestBuffer[Tensor] = HardestBuffer(self.batch)
        self._optimizer: torch.optim.Optimizer | None = None

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update; put the hardest prompts into the buffer; fine-tune where it holds enough."""
        if self._optimizer is None:
            self._optimizer = torch.optim.AdamW(learner.policy.parameters(), lr=self.fine_tuning_rate, weight_decay=0.01, fused=True)
        rollouts = learner.roll_out(prompts)
        self._reinforce(rollouts, learner)

        accuracy = rollouts.rewards["accuracy"].view(len(prompts), -1)
        self._buffer.push(list(prompts[are_hardest(accuracy)]))
        hardest = self._buffer.take()
        if hardest:
            demonstrations = learner.demonstrate(torch.stack(hardest))
            loss = learner.imitation_loss(demonstrations, self.entropy_bonus)
            learner.fine_tune(loss, len(hardest), self._optimizer, self.fine_tuning_norm)
        learner.log(buffer=float(len(self._buffer.items)))

    def _reinforce(self, rollouts: Rollouts, learner: Learner) -> None:
        advantages = group_advantages(rollouts.rewards["accuracy"], rollouts.group, normalised=False)

        def loss(tokens: Tokens) -> Tensor:
            losses = unclipped_loss(tokens.logp, tokens.logp_old, tokens.advantages)

            return aggregate(losses, tokens.mask, "seq-mean-token-sum-norm") - self.entropy_bonus * masked_mean(tokens.entropy, tokens.mask)

        learner.update(rollouts, advantages, loss, gradient_norm=self.gradient_norm)
