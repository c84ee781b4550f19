"""
Reinforcement learning with verifiable rewards: improve a policy by what a verifier says of its responses, and keep what it could do before.

The protocol owns the outer loop: it draws prompts, and hands them to the method, iteration by iteration, with a
:class:`~plugins.tasks.rlvr.learner.Learner` that rolls out, verifies, updates and fine-tunes, and counts all of it. A method decides how advantages,
losses, replay and fine-tuning are made of that. All methods start from the same base policy, one a seed, which is built once. Afterwards the policy
answers test prompts of every level; what it answered is the outcome.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import log_softmax

from harness.training.descent import Descent
from plugins.tasks.rlvr.environment import Environment
from plugins.tasks.rlvr.learner import Learner
from plugins.tasks.rlvr.losses import masked_mean
from plugins.tasks.rlvr.policy import PolicySettings, TokenPolicy, response_mask
from plugins.tasks.rlvr.rollouts import sample_responses

if TYPE_CHECKING:
    from pathlib import Path

    from harness.context import Run

__all__ = [
    "Outcome",
    "Pretraining",
    "RlvrData",
    "RlvrMethod",
    "RlvrProtocol",
    "TestLevel",
]

DIVERSITY_SAMPLES = 16
POLICY_FILE = "policy.safetensors"
WARMUP = 50  # steps of pre-training in which the rate rises
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
    descent = Descent(optimizer, lambda step: min((step + 1) / WARMUP, 0.5 * (1 + math.cos(math.pi * step / settings.steps))))
    draws = run.torch_rng("batches")
    for step in range(settings.steps):
        rows = torch.randint(len(prompts), (settings.batch,), generator=draws).to(run.device)
        logp = policy.facts(prompts[rows], responses[rows]).logp
        loss = masked_mean(-logp, mask[rows])
        descent.backward(loss)
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        descent.step()
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
    sampled = sample_responses(policy, prompts, per_prompt, generator).view(len(prompts), per_prompt, -1)

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
