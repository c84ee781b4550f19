"""What a method of this task works with: a policy that rolls out, is verified, updated and fine-tuned, with all of it counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.errors import TrialDiverged
from plugins.tasks.rlvr.environment import Demonstrations, Environment, verified
from plugins.tasks.rlvr.losses import masked_mean
from plugins.tasks.rlvr.policy import TokenFacts, TokenPolicy, response_mask
from plugins.tasks.rlvr.rollouts import Rollouts, Tokens, sample_responses

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["Learner", "Settings"]


class Settings(Protocol):
    """What the steps of all methods have in common."""

    group_size: int
    minibatches: int
    learning_rate: float
    gradient_norm: float


@dataclass
class Learner:
    """
    What a method works with: the policy, its optimiser, and the steps that every method is made of.

    Args:
        policy: Trained in place.
        base: The policy that all methods start from; frozen.
        iteration: Counted from 0.
        iterations: How many there are.
        settings: The protocol's, which all methods share.
    """

    policy: TokenPolicy
    base: TokenPolicy
    settings: Settings
    iterations: int
    run: Run
    environment: Environment = field(repr=False)
    privileges: tuple[str, ...] = ()
    iteration: int = 0
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("rollouts", "updates", "fine_tuning_updates", "demonstrations"), 0)
    )
    figures: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.optimizer = self.new_optimizer()
        self._sampling = self.run.torch_rng("sampling")
        self._minibatches = self.run.torch_rng("minibatches")
        self._general = self.run.rng("replay")

    def new_optimizer(self, learning_rate: float | None = None) -> torch.optim.Optimizer:
        """Build an Adam of its own moments over the policy's parameters, with the suite's rate or another."""
        return torch.optim.Adam(
            self.policy.parameters(), lr=self.settings.learning_rate if learning_rate is None else learning_rate, fused=True
        )

    def roll_out(self, prompts: Tensor) -> Rollouts:
        """
        Let the policy answer each prompt ``settings.group_size`` times and verify the responses.

        A response on which the verifier fails gets no reward, and is counted.

        Raises:
            TrialDiverged: A reward is not finite.
        """
        responses = sample_responses(self.policy, prompts, self.settings.group_size, self._sampling)
        repeated = prompts.repeat_interleave(self.settings.group_size, dim=0)
        scores, failures = verified(self.environment, repeated, responses)
        rewards = {}
        for name, values in scores.items():
            if not np.isfinite(values).all():
                raise TrialDiverged(f"the reward '{name}' of a response is not finite in iteration {self.iteration}")
            rewards[name] = torch.from_numpy(values).float().to(prompts.device)
        mask = self._mask(responses)
        with torch.no_grad():
            facts = self.policy.facts(repeated, responses)
        self.counts["rollouts"] += len(responses)
        self.run.count(forward=2 * len(responses))
        group = torch.arange(len(prompts), device=prompts.device).repeat_interleave(self.settings.group_size)
        self._note(rewards, mask, facts, group, failures)

        return Rollouts(repeated, responses, mask, group, rewards, mask.sum(dim=1), facts.logp, facts.entropy)

    def update(
        self,
        rollouts: Rollouts,
        advantages: Tensor,
        loss: Callable[[Tokens], Tensor],
        with_base: bool = False,
        gradient_norm: float | None = None,
    ) -> None:
        """
        Update the policy once for each mini-batch of the rollouts.

        Args:
            rollouts: Cut into ``settings.minibatches`` random parts of whole responses.
            advantages: ``(B,)`` or ``(B, T)``.
            loss: Maps a mini-batch to the scalar that is minimised.
            with_base: Whether it is given the log-probabilities of the base policy.
            gradient_norm: What the norm of the gradient is cut at; the suite's by default.

        Raises:
            TrialDiverged: A loss is not finite.
        """
        spread = (advantages if advantages.ndim == 2 else advantages[:, None].expand_as(rollouts.mask)).detach()
        order = torch.randperm(len(rollouts.responses), generator=self._minibatches).to(rollouts.mask.device)
        for rows in order.tensor_split(self.settings.minibatches):
            prompts, responses = rollouts.prompts[rows], rollouts.responses[rows]
            facts = self.policy.facts(prompts, responses)
            base = self._base_logp(prompts, responses) if with_base else None
            tokens = Tokens(
                logp=facts.logp,
                entropy=facts.entropy,
                logp_old=rollouts.logp[rows],
                logp_base=base,
                advantages=spread[rows],
                mask=rollouts.mask[rows],
                rewards={name: values[rows] for name, values in rollouts.rewards.items()},
            )
            self._step(loss(tokens), self.optimizer, gradient_norm, len(rows))
            self.counts["updates"] += 1

    def demonstrate(self, prompts: Tensor) -> Demonstrations:
        """
        Return right responses to prompts of the training mixture.

        Raises:
            ValueError: The method's spec does not ask for the privilege ``demonstrations``.
        """
        self._require("demonstrations")
        responses = self.environment.demonstrate(prompts.cpu().numpy())

        return Demonstrations(prompts, torch.from_numpy(responses).to(prompts.device))

    def replay(self, n: int) -> dict[str, Demonstrations]:
        """
        Return ``n`` demonstrations of each general skill, by skill.

        Raises:
            ValueError: The method's spec does not ask for the privilege ``general_data``.
        """
        self._require("general_data")
        drawn = {skill: self.environment.draw_general(skill, n, self._general) for skill in self.environment.general}
        device = self.run.device

        return {
            skill: Demonstrations(torch.from_numpy(prompts).to(device), torch.from_numpy(self.environment.demonstrate(prompts)).to(device))
            for skill, prompts in drawn.items()
        }

    def imitation_loss(self, demonstrations: Demonstrations, entropy_bonus: float = 0.0) -> Tensor:
        """Return the mean negative log-likelihood of the demonstrations' tokens, less ``entropy_bonus`` times the mean entropy there."""
        mask = self._mask(demonstrations.responses)
        facts = self.policy.facts(*demonstrations)

        return masked_mean(-facts.logp, mask) - entropy_bonus * masked_mean(facts.entropy, mask)

    def fine_tune(self, loss: Tensor, n: int, optimizer: torch.optim.Optimizer | None = None, gradient_norm: float | None = None) -> None:
        """
        Make one supervised update.

        Args:
            loss: Of :meth:`imitation_loss`, or a weighted sum of several.
            n: Demonstrations in it.
            optimizer: The one of the policy by default.
            gradient_norm: As in :meth:`update`.

        Raises:
            TrialDiverged: The loss is not finite.
        """
        self._step(loss, optimizer or self.optimizer, gradient_norm, n)
        self.counts["fine_tuning_updates"] += 1
        self.counts["demonstrations"] += n

    def log(self, **figures: float) -> None:
        """Add figures to the curves of this iteration."""
        self.figures.update(figures)

    def _step(self, loss: Tensor, optimizer: torch.optim.Optimizer, gradient_norm: float | None, n: int) -> None:
        if not math.isfinite(float(loss.detach())):
            raise TrialDiverged(f"a loss is {float(loss.detach())} in iteration {self.iteration}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.settings.gradient_norm if gradient_norm is None else gradient_norm)
        optimizer.step()
        self.run.count(forward=n, backward=n)

    def _mask(self, responses: Tensor) -> Tensor:
        return response_mask(responses, self.policy.settings.pad, self.policy.settings.end)

    @torch.no_grad()
    def _base_logp(self, prompts: Tensor, responses: Tensor) -> Tensor:
        self.run.count(forward=len(prompts))

        return self.base.facts(prompts, responses).logp

    def _require(self, privilege: str) -> None:
        if privilege not in self.privileges:
            raise ValueError(f"this method's spec needs the privilege '{privilege}'")

    def _note(self, rewards: Mapping[str, Tensor], mask: Tensor, facts: TokenFacts, group: Tensor, failures: int) -> None:
        accuracy = rewards["accuracy"].view(-1, self.settings.group_size).mean(dim=1)
        self.log(
            **{name: float(values.mean()) for name, values in rewards.items()},
            entropy=float(masked_mean(facts.entropy, mask)),
            solved_by_all=float((accuracy == 1).float().mean()),
            solved_by_none=float((accuracy == 0).float().mean()),
        )
        if failures:
            self.log(verifier_failures=float(failures))
