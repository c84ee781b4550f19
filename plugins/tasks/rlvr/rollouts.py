"""Responses of a policy with all that was verified of them, and the tokens of a mini-batch as a loss sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from plugins.tasks.rlvr.policy import TokenPolicy

__all__ = ["Rollouts", "Tokens", "join_rollouts", "sample_responses", "select_responses"]

SAMPLE_BATCH = 2048  # responses that are sampled at once: their cache is some 80 MB


@dataclass(frozen=True)
class Rollouts:
    """
    Responses of the policy to prompts, verified.

    Args:
        prompts: ``(B, prompt_length)``, each repeated for its responses.
        responses: ``(B, T)``, PAD behind the end.
        mask: ``(B, T)``, 1 on the tokens of a response, its end included.
        group: ``(B,)``, which responses answer one prompt.
        rewards: By name, ``(B,)`` each.
        lengths: ``(B,)``, tokens.
        logp: ``(B, T)``, log-probabilities of the policy that drew them, by its training pass.
        entropy: ``(B, T)``, of its distributions.
    """

    prompts: Tensor
    responses: Tensor
    mask: Tensor
    group: Tensor
    rewards: Mapping[str, Tensor]
    lengths: Tensor
    logp: Tensor
    entropy: Tensor


_TENSORS = tuple(field.name for field in fields(Rollouts) if field.name != "rewards")


@dataclass(frozen=True)
class Tokens:
    """
    A mini-batch of rollouts as its loss sees it, ``(B, T)`` each.

    Args:
        logp: Of the policy as it is now, with gradient.
        entropy: Likewise.
        logp_old: Of the policy that drew the tokens.
        logp_base: Of the base policy; only where the method asked for it.
        advantages: Of the tokens.
        mask: 1 on the tokens of a response.
        rewards: By name, ``(B,)`` each.
    """

    logp: Tensor
    entropy: Tensor
    logp_old: Tensor
    logp_base: Tensor | None
    advantages: Tensor
    mask: Tensor
    rewards: Mapping[str, Tensor]

    def require_base(self) -> Tensor:
        """
        Return the log-probabilities of the base policy.

        Raises:
            ValueError: The method did not ask for them.
        """
        if self.logp_base is None:
            raise ValueError("this loss needs the base policy: pass 'with_base=True' to 'update'")

        return self.logp_base


def sample_responses(policy: TokenPolicy, prompts: Tensor, per_prompt: int, generator: torch.Generator) -> Tensor:
    """Return ``per_prompt`` responses to each prompt, ``(n * per_prompt, T)``, those to one prompt side by side."""
    return torch.cat([policy.sample(part, per_prompt, generator) for part in torch.split(prompts, max(1, SAMPLE_BATCH // per_prompt))])


def select_responses(rollouts: Rollouts, kept: Tensor) -> Rollouts:
    """Return the responses where ``kept``, ``(B,)`` bool, is true, or those at its positions, int64."""
    rewards = {name: values[kept] for name, values in rollouts.rewards.items()}

    return Rollouts(**{name: getattr(rollouts, name)[kept] for name in _TENSORS}, rewards=rewards)


def join_rollouts(parts: Sequence[Rollouts]) -> Rollouts:
    """Return the responses of all parts, one part behind the other; groups keep their numbers, rewards have the names of the first part's."""
    rewards = {name: torch.cat([part.rewards[name] for part in parts]) for name in parts[0].rewards}

    return Rollouts(**{name: torch.cat([getattr(part, name) for part in parts]) for name in _TENSORS}, rewards=rewards)
