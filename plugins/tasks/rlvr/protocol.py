"""
Reinforcement learning with verifiable rewards: improve a policy by what a verifier says of its responses, and keep what it could do before.

The protocol owns the outer loop: it draws prompts, and hands them to the method, iteration by iteration, with a :class:`Learner` that rolls out, verifies,
updates and fine-tunes, and counts all of it. A method decides how advantages, losses, replay and fine-tuning are made of that. All methods start from the
same base policy, one a seed, which is built once. Afterwards the policy answers test prompts of every level; what it answered is the outcome.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import log_softmax

from harness.errors import TrialDiverged
from plugins.tasks.rlvr.environment import Demonstrations, Environment, verified
from plugins.tasks.rlvr.losses import masked_mean
from plugins.tasks.rlvr.policy import PolicySettings, TokenFacts, TokenPolicy, response_mask
from plugins.tasks.rlvr.rollouts import Rollouts, Tokens, _sampled

if TYPE_CHECKING:
    from pathlib import Path

    from harness.context import Run

__all__ = [
    "Demonstrations",
    "Environment",
    "Learner",
    "Outcome",
    "Pretraining",
    "RlvrData",
    "RlvrMethod",
    "RlvrProtocol",
    "Rollouts",
    "TestLevel",
    "Tokens",
]

DIVERSITY_SAMPLES = 16
POLICY_FILE = "policy.safetensors"
LAST_ITERATIONS = 10  # whose rollouts give the entropy at the end


@dataclass(frozen=True)
class Pretraining:
    """
    How the base policy is trained: AdamW with decay 0.01, 50 steps of warm-up, then a cosine to 0.

    Args:
        steps: Of the optimiser; 0 for a policy that comes pretrained.
        batch: Examples a step.
        examples: That are drawn for it.
        learning_rate: The highest.
    """

    steps: int = 800
    batch: int = 128
    examples: int = 40_000
    learning_rate: float = 3e-3


@dataclass(frozen=True)
class TestLevel:
    """
    A level as it is tested.

    Args:
        name: Of the level.
        group: ``reasoning`` for a level that the base policy has seen, ``hardest`` for one that it has not, ``general`` for a skill that is not trained.
    """

    name: str
    group: Literal["reasoning", "hardest", "general"]


@dataclass(frozen=True)
class RlvrData:
    """
    All that a data set gives; only the task and its metrics see this.

    Args:
        environment: Draws prompts, verifies, solves.
        levels: The L levels that are tested.
        prompts: ``(L, n, prompt_length)`` int64, the test prompts.
        questions: ``(L, n, prompt_length)`` int64, what responses to the test prompts are verified against: the same prompts.
        many_solutions: Position of a level whose questions have several solutions, to count distinct ones; -1 for none.
        pretraining: Of the base policy.
    """

    environment: Environment
    levels: tuple[TestLevel, ...]
    prompts: NDArray[np.int64]
    questions: NDArray[np.int64]
    many_solutions: int = -1
    pretraining: Pretraining = Pretraining()


class RlvrMethod(Protocol):
    """The verbs of this task."""

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Make one iteration of the prompts ``(n, prompt_length)`` that it is given."""


@dataclass
class Learner:
    """
    What a method works with: the policy, its optimiser, and the steps that every method is made of.

    Args:
        policy: Trained in place.
        base: The policy that all methods start from; frozen.
        iteration: Counted from 0.
        iterations: How many there are.
        settings: The protocol's.
    """

    policy: TokenPolicy
    base: TokenPolicy
    settings: RlvrProtocol
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
        responses = _sampled(self.policy, prompts, self.settings.group_size, self._sampling)
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


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        responses: ``(L, n, k, T)`` uint8 or int32, k responses to each test prompt after the last iteration.
        base_responses: ``(L, n, k, T)``, of the base policy.
        diverse_responses: ``(n, 16, T)``, to the prompts of the level with many solutions; ``(0, 16, T)`` where there is none.
        entropy: ``(I,)`` of the rollouts of each iteration, averaged over tokens; NaN-free, and 0 in an iteration without rollouts.
        had_rollouts: ``(I,)`` 1 in an iteration with rollouts.
        kl_to_base: Scalar, the mean divergence from the base policy over the tokens of the test responses on reasoning levels.
        rollouts: Scalar, responses that were sampled in training.
        updates: Scalar, updates by rollouts.
        fine_tuning_updates: Scalar, supervised updates.
        demonstrations: Scalar, demonstrations in those.
    """

    responses: np.ndarray
    base_responses: np.ndarray
    diverse_responses: np.ndarray
    entropy: np.ndarray
    had_rollouts: np.ndarray
    kl_to_base: np.ndarray
    rollouts: np.ndarray
    updates: np.ndarray
    fine_tuning_updates: np.ndarray
    demonstrations: np.ndarray


@dataclass
class RlvrProtocol:
    """
    The protocol and its settings, which all methods share.

    Args:
        mixture: Name of the training mixture, one of the environment's.
        prompts: Prompts an iteration.
        group_size: Responses to each.
        minibatches: Updates an iteration, each on as many of its responses.
        learning_rate: Of Adam, constant.
        gradient_norm: What the norm of a gradient is cut at.
        samples: Responses to each test prompt.
        evaluate_every: Iterations between two points of the curves on a tenth of the test prompts.
    """

    outcome_type: ClassVar[type] = Outcome

    mixture: str = "reasoning"
    prompts: Annotated[int, Ge(1)] = 16
    group_size: Annotated[int, Ge(1)] = 8
    minibatches: Annotated[int, Ge(1)] = 2
    learning_rate: Annotated[float, Gt(0)] = 5e-4
    gradient_norm: Annotated[float, Gt(0)] = 1.0
    samples: Annotated[int, Ge(1)] = 8
    evaluate_every: Annotated[int, Ge(1)] = 20

    def build_artifact(self, data: RlvrData, run: Run, folder: Path) -> None:
        """
        Train the base policy and write it, ``policy.safetensors``, with its responses to the test prompts, ``responses.npy``.

        A policy that comes pretrained is not written: the environment builds it again.
        """
        policy = pretrain(data.pretraining, data.environment, run)
        if data.pretraining.steps:
            save_file(policy.state_dict(), folder / POLICY_FILE)
        np.save(folder / "responses.npy", self._answers(policy, data, run))

    def confront(self, method: RlvrMethod, data: RlvrData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Let ``method`` learn iteration by iteration, then test its policy.

        Raises:
            ValueError: There is no base policy, or no such mixture.
        """
        if run.artifact is None:
            raise ValueError("the base policy is the artifact of this task, and this trial was given none")
        mixtures = data.environment.mixtures
        if self.mixture not in mixtures:
            raise ValueError(f"the environment has no mixture '{self.mixture}'; it has {', '.join(mixtures)}")
        base, policy = (_loaded(data.environment, run) for _ in range(2))
        base_responses = np.load(run.artifact / "responses.npy")
        iterations = run.budget.require("steps")
        learner = Learner(policy, base.requires_grad_(False), self, iterations, run.for_method(), data.environment, privileges)
        stream = run.rng("prompts")
        levels, shares = list(mixtures[self.mixture]), np.array(list(mixtures[self.mixture].values()))
        entropies = np.zeros((2, iterations))
        for iteration in range(iterations):
            learner.iteration, learner.figures = iteration, {}
            names = stream.choice(levels, size=self.prompts, p=shares / shares.sum())
            drawn = np.concatenate([data.environment.draw(str(name), 1, stream) for name in names])
            run.witness("prompts", drawn)
            method.learn(torch.from_numpy(drawn).to(run.device), learner)
            if "entropy" in learner.figures:
                entropies[:, iteration] = learner.figures["entropy"], 1
            if (iteration + 1) % self.evaluate_every == 0:
                learner.log(**self._glance(policy, data, run))
            run.log(iteration, **learner.figures)

        responses = self._answers(policy, data, run)

        return Outcome(
            responses=responses,
            base_responses=base_responses,
            diverse_responses=self._diverse(policy, data, run),
            entropy=entropies[0],
            had_rollouts=entropies[1],
            kl_to_base=np.array(_divergence(policy, base, data, responses, run.device)),
            **{name: np.array(float(count)) for name, count in learner.counts.items()},
        )

    def for_tuning(self, data: RlvrData) -> RlvrData:
        """Return the data with other prompts of the same levels, drawn where training prompts are, in the place of the test prompts."""
        rng = np.random.default_rng(data.prompts.astype(np.int64).sum())
        prompts = np.stack([data.environment.draw(level.name, data.prompts.shape[1], rng) for level in data.levels])

        return replace(data, prompts=prompts, questions=prompts)

    def shuffle_hidden(self, data: RlvrData, rng: np.random.Generator, privileges: tuple[str, ...]) -> RlvrData:
        """Return the data with the questions that responses are verified against in random order: those of one level where another's were."""
        return replace(data, questions=rng.permutation(data.questions))

    def _answers(self, policy: TokenPolicy, data: RlvrData, run: Run) -> NDArray[np.generic]:
        """Sample responses to all test prompts: ``(L, n, k, T)``."""
        generator = run.torch_rng("evaluation")
        prompts = torch.from_numpy(data.prompts).to(run.device)

        return np.stack([_responses(policy, level, self.samples, generator) for level in prompts])

    def _diverse(self, policy: TokenPolicy, data: RlvrData, run: Run) -> NDArray[np.generic]:
        prompts = torch.from_numpy(data.prompts[data.many_solutions] if data.many_solutions >= 0 else data.prompts[0, :0]).to(run.device)
        if len(prompts) == 0:
            settings = data.environment.policy_settings
            return np.empty((0, DIVERSITY_SAMPLES, settings.response_length), dtype=_token_type(settings))

        return _responses(policy, prompts, DIVERSITY_SAMPLES, run.torch_rng("diversity"))

    def _glance(self, policy: TokenPolicy, data: RlvrData, run: Run) -> dict[str, float]:
        """Test on a tenth of the prompts, for the curves."""
        few = max(1, data.prompts.shape[1] // 10)
        generator = run.torch_rng("glance")
        found: dict[str, list[float]] = {}
        for level, prompts in zip(data.levels, data.prompts[:, :few], strict=True):
            responses = _responses(policy, torch.from_numpy(prompts).to(run.device), self.samples, generator)
            repeated = prompts.repeat(self.samples, axis=0)
            scores = data.environment.score(repeated, responses.reshape(len(repeated), -1).astype(np.int64))
            found.setdefault(level.group, []).append(float(scores["accuracy"].mean()))

        return {f"{group}_accuracy": float(np.mean(values)) for group, values in found.items()}


def pretrain(settings: Pretraining, environment: Environment, run: Run) -> TokenPolicy:
    """Build the base policy and train it on the responses of the environment's examples (streams ``init``, ``pretraining`` and ``batches``)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(run.rng("init").integers(2**62)))
        policy = environment.build_policy().to(run.device)
    if settings.steps == 0:
        return policy
    arrays = environment.pretraining(settings.examples, run.rng("pretraining"))
    prompts, responses = (torch.from_numpy(array).to(run.device) for array in arrays)
    mask = response_mask(responses, policy.settings.pad, policy.settings.end)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=settings.learning_rate, weight_decay=0.01, fused=True)
    steps, warmup = settings.steps, 50

    def rate(step: int) -> float:
        return min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    draws = run.torch_rng("batches")
    for step in range(steps):
        rows = torch.randint(len(prompts), (settings.batch,), generator=draws).to(run.device)
        logp = policy.facts(prompts[rows], responses[rows]).logp
        loss = masked_mean(-logp, mask[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            run.log(step, pretraining_loss=float(loss.detach()))

    return policy


def _loaded(environment: Environment, run: Run) -> TokenPolicy:
    policy = environment.build_policy()
    file = run.artifact / POLICY_FILE  # type: ignore[operator]  # it was looked for before
    if file.exists():
        policy.load_state_dict(load_file(file))

    return policy.to(run.device)


def _responses(policy: TokenPolicy, prompts: Tensor, per_prompt: int, generator: torch.Generator) -> NDArray[np.generic]:
    """Return ``(n, per_prompt, T)``, in the smallest type that holds the vocabulary."""
    sampled = _sampled(policy, prompts, per_prompt, generator).view(len(prompts), per_prompt, -1)

    return sampled.cpu().numpy().astype(_token_type(policy.settings))


def _token_type(settings: PolicySettings) -> type[np.generic]:
    return np.uint8 if settings.vocabulary <= 256 else np.int32


@torch.no_grad()
def _divergence(policy: TokenPolicy, base: TokenPolicy, data: RlvrData, responses: NDArray[np.generic], device: str) -> float:
    """Return the mean divergence from the base over the tokens of the first response to each prompt of the reasoning levels."""
    rows = [i for i, level in enumerate(data.levels) if level.group == "reasoning"]
    prompts = torch.from_numpy(data.prompts[rows].reshape(-1, data.prompts.shape[-1])).to(device)
    said = torch.from_numpy(responses[rows, :, 0].reshape(len(prompts), -1).astype(np.int64)).to(device)
    mask = response_mask(said, policy.settings.pad, policy.settings.end)
    logp, logp_base = (log_softmax(model.response_logits(prompts, said), dim=-1) for model in (policy, base))

    return float(masked_mean((logp.exp() * (logp - logp_base)).sum(dim=-1), mask))
