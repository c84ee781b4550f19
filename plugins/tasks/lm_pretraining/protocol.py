"""
Pretraining: train a model from nothing on samples of several domains, within as many steps as every other method has.

A data set gives a *workload*: the model, its recipe, the batches and the loss of each token, so that one method serves language models and a linear
regression alike. What a batch holds follows from the seed, the step and the mixture of the domains, never from the method; a method makes one scalar of
the losses of a batch. The model is judged by its plain, unweighted loss on samples that no method sees, and by tasks of lm-eval where the suite names some.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, MinLen
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.errors import TrialDiverged
from harness.specs import Search
from harness.training.descent import Descent
from harness.training.language_model import SampleLosses
from harness.training.lm_scores import score_documents, wrap_tokenizer
from harness.training.parameter_groups import parameter_groups
from harness.training.schedules import step_factor

if TYPE_CHECKING:
    from harness.context import Run

__all__ = [
    "Batch",
    "BatchLosses",
    "HeldOut",
    "LmPretrainingProtocol",
    "Loss",
    "Outcome",
    "PretrainingData",
    "PretrainingMethod",
    "PretrainingView",
    "Recipe",
    "Trained",
    "Workload",
    "build_model",
    "draw_rows",
    "mixture_shares",
    "pretrain",
    "token_mean",
    "train_steps",
]

BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class Recipe:
    """
    How a model is trained, apart from the loss.

    Args:
        optimizer: AdamW with betas (0.9, 0.95), or plain gradient descent.
        learning_rate: The highest.
        batch_size: Samples a step.
        warmup: Share of the steps in which the rate rises linearly.
        final: Share of the rate that a cosine leaves at the end; 1 holds it constant.
        weight_decay: Of AdamW, on matrices alone.
        gradient_norm: What the norm of the gradient is cut at; ``None`` for no cut.
    """

    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    batch_size: int = 16
    warmup: float = 0.05
    final: float = 0.1
    weight_decay: float = 0.1
    gradient_norm: float | None = 1.0

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Build the optimiser over all parameters of ``model``, at the highest rate."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(model.parameters(), lr=self.learning_rate)

        return torch.optim.AdamW(parameter_groups(model, self.weight_decay), lr=self.learning_rate, betas=BETAS, fused=True)


class Batch(NamedTuple):
    """
    Samples to train on, on the CPU or the device of the trial.

    Args:
        inputs: ``(M, ...)``, what the model sees.
        answers: ``(M, ...)``, what its predictions are compared with; the inputs themselves where a sample is its own answer, as text is.
        domain: ``(M,)`` int64, positions in the workload's domains.
    """

    inputs: Tensor
    answers: Tensor
    domain: Tensor

    def to(self, device: str) -> Batch:
        """Return the batch on another device."""
        return Batch(*(part.to(device) for part in self))


@dataclass(frozen=True)
class HeldOut:
    """
    Samples to judge by.

    Args:
        inputs: ``(N, ...)``.
        answers: ``(N, ...)``; ``(0,)`` where a sample is its own answer.
        domain: ``(N,)`` int64.
    """

    inputs: Tensor
    answers: Tensor
    domain: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class BatchLosses:
    """
    What a method makes its scalar of.

    Args:
        tokens: ``(M, T)``, the loss of each token with its gradient, 0 where nothing is predicted. T is 1 where a sample is one prediction.
        mask: ``(M, T)`` bool, where something is predicted.
        batch: What they are losses of.
        step: Counted from 0.
        steps: All of them.
    """

    tokens: Tensor
    mask: Tensor
    batch: Batch
    step: int
    steps: int

    @cached_property
    def samples(self) -> SampleLosses:
        """The mean loss of each sample over its predictions, ``(M,)``, and how many these are."""
        active = self.mask.sum(dim=1)

        return SampleLosses(self.tokens.sum(dim=1) / active.clamp(min=1), active)

    @property
    def progress(self) -> float:
        """Share of the steps that is done, in [0, 1)."""
        return self.step / self.steps


Loss = Callable[[BatchLosses], Tensor]
"""Maps the losses of a batch to the scalar that is minimised."""


class Workload(Protocol):
    """A model to train, and what to train it on."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The names of the K domains."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """How much there is of each domain, in tokens; 1 of what is drawn without end."""

    @property
    def recipe(self) -> Recipe:
        """How it is trained where the suite says nothing else."""

    @property
    def in_nats(self) -> bool:
        """Whether its losses are negative log-likelihoods of tokens, so that it has a perplexity."""

    def build_model(self, generator: torch.Generator, device: str) -> nn.Module:
        """Build the model that all methods start from."""

    def batch(self, shares: NDArray[np.float64], size: int, rng: np.random.Generator) -> Batch:
        """Draw a batch whose domains have the shares ``(K,)``, on the CPU."""

    def token_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return ``tokens`` and ``mask`` of :class:`BatchLosses`."""

    def outputs(self, model: nn.Module, part: HeldOut) -> NDArray[np.float64]:
        """Return what is kept of the model for each sample, ``(N,)``: its loss where a sample is its own answer, else its prediction."""

    def losses(self, outputs: NDArray[np.float64], part: HeldOut) -> NDArray[np.float64]:
        """Return the plain loss of each sample, ``(N,)``, of what :meth:`outputs` gave."""


@dataclass(frozen=True)
class PretrainingData:
    """
    All that a data set gives; only the task and its metrics see this.

    Args:
        workload: Model and training samples.
        valid: For the curve.
        test: To judge by.
        tokenizer: ``tokenizer.json`` of the workload's tokens, for tasks of lm-eval; ``None`` where its model reads no text by such tokens.
        lm_scored: Whether tasks of lm-eval are asked; not in tuning, which chooses by validation samples.
    """

    workload: Workload
    valid: HeldOut
    test: HeldOut
    tokenizer: Path | None = None
    lm_scored: bool = True


@dataclass(frozen=True)
class PretrainingView:
    """
    What a method sees.

    Args:
        workload: Model, batches and losses.
        shares: ``(K,)``, the mixture of the suite: the share of each domain in a batch, on average.
        recipe: That every method of the suite shares.
        valid: The validation samples.
        evaluate_at: Shares of the steps behind which the validation loss is taken.
    """

    workload: Workload
    shares: NDArray[np.float64]
    recipe: Recipe
    valid: HeldOut
    evaluate_at: tuple[float, ...]


@dataclass(frozen=True)
class Trained:
    """
    What training gives.

    Args:
        model: After the last step.
        steps: ``(E,)`` int64, done at each checkpoint.
        valid: ``(E, N)`` float64, plain loss of each validation sample at each checkpoint.
    """

    model: nn.Module
    steps: NDArray[np.int64]
    valid: NDArray[np.float64]


class PretrainingMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: PretrainingView, run: Run) -> Trained:
        """Train a model within ``run.budget.steps``."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        test: ``(N,)`` float64, what the workload keeps of the model for each test sample (:meth:`Workload.outputs`); ``data.test`` says of which domain.
        steps: ``(E,)`` int64, done at each checkpoint.
        valid: ``(E, N)`` float64, plain loss of each validation sample at each checkpoint; ``data.valid`` says of which domain.
        reference_loss: ``(1,)`` or ``(0,)``, of the protocol.
        lm_names: The names of the lm-eval tasks (:class:`harness.training.lm_scores.DocumentScores`), as are the next two.
        lm_task: ``(D,)``, the task of each document.
        lm_scores: ``(D,)``, the score of each document.
    """

    test: np.ndarray
    steps: np.ndarray
    valid: np.ndarray
    reference_loss: np.ndarray
    lm_names: np.ndarray
    lm_task: np.ndarray
    lm_scores: np.ndarray


@dataclass
class LmPretrainingProtocol:
    """
    The protocol and its settings, which all methods share. What is ``None`` is as the data set's workload has it (:class:`Recipe`).

    Args:
        mixture: Of the domains in training: ``uniform``, ``proportional`` to their sizes, ``temperature`` (sizes to the power of ``temperature``), or the
            share of each by name.
        temperature: Of that mixture; 1 is proportional.
        learning_rate: The highest.
        batch_size: Samples a step.
        warmup: Share of the steps in which the rate rises.
        final: Share of the rate at the end of its cosine; 1 holds it constant.
        weight_decay: Of AdamW.
        gradient_norm: What the norm of the gradient is cut at.
        evaluate_at: Shares of the steps behind which the validation loss is taken.
        reference_loss: Whose passing the metric ``steps_to_loss`` counts the steps to.
        lm_tasks: Tasks of lm-eval that the model is asked in the end.
        lm_limit: Documents of each; all by default.
    """

    outcome_type: ClassVar[type] = Outcome

    mixture: Literal["uniform", "proportional", "temperature"] | dict[str, Annotated[float, Ge(0)]] = "uniform"
    temperature: Annotated[float, Gt(0), Le(1)] = 0.5
    learning_rate: Annotated[Annotated[float, Gt(0)] | None, Search(1e-4, 1.0, log=True)] = None
    batch_size: Annotated[int, Ge(1)] | None = None
    warmup: Annotated[float, Ge(0), Le(1)] | None = None
    final: Annotated[float, Ge(0), Le(1)] | None = None
    weight_decay: Annotated[float, Ge(0)] | None = None
    gradient_norm: Annotated[float, Gt(0)] | None = None
    evaluate_at: Annotated[tuple[Annotated[float, Gt(0), Le(1)], ...], MinLen(1)] = (0.25, 0.5, 1.0)
    reference_loss: Annotated[float, Ge(0)] | None = None
    lm_tasks: tuple[str, ...] = ()
    lm_limit: Annotated[int, Ge(1)] | None = None

    def confront(self, method: PretrainingMethod, data: PretrainingData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Let ``method`` train a model, and judge it.

        Raises:
            TrialDiverged: What the model says of a test sample is not finite.
            ValueError: There are tasks of lm-eval to be asked, and no tokenizer.
        """
        tasks = self.lm_tasks if data.lm_scored else ()
        if tasks and data.tokenizer is None:
            raise ValueError(
                f"the models of this data set read no text by tokens, so that {', '.join(tasks)} cannot be asked; leave out 'lm_tasks'"
            )
        trained = method.fit(self.view(data), run)

        test = data.workload.outputs(trained.model, data.test)
        if not np.isfinite(test).all():
            raise TrialDiverged("what the model says of the test samples is not finite")
        names, task, scores = score_documents(
            trained.model,  # type: ignore[arg-type]  # a model that reads tokens is one of transformers
            wrap_tokenizer(data.tokenizer) if tasks and data.tokenizer else None,  # type: ignore[arg-type]  # not looked at without tasks
            tasks,
            limit=self.lm_limit,
        )

        return Outcome(
            test=test,
            steps=trained.steps,
            valid=trained.valid,
            reference_loss=np.array([] if self.reference_loss is None else [self.reference_loss]),
            lm_names=names,
            lm_task=task,
            lm_scores=scores,
        )

    def for_tuning(self, data: PretrainingData) -> PretrainingData:
        """Return the data with the validation samples in the place of the test samples, and without tasks of lm-eval."""
        return replace(data, test=data.valid, lm_scored=False)

    def shuffle_hidden(self, data: PretrainingData, rng: np.random.Generator, privileges: tuple[str, ...]) -> PretrainingData:
        """Return the data with answers and domains of the test samples in random order; where a sample is its own answer, the domains alone."""
        test = data.test
        order = torch.from_numpy(rng.permutation(len(test)))
        answers = test.answers[order] if len(test.answers) else test.answers

        return replace(data, test=replace(test, answers=answers, domain=test.domain[order]))

    def view(self, data: PretrainingData) -> PretrainingView:
        """Return what a method may see."""
        workload = data.workload
        given = {item.name: value for item in fields(Recipe) if (value := getattr(self, item.name, None)) is not None}

        return PretrainingView(
            workload=workload,
            shares=mixture_shares(self.mixture, workload.domains, workload.sizes, self.temperature),
            recipe=replace(workload.recipe, **given),
            valid=HeldOut(data.valid.inputs.clone(), data.valid.answers.clone(), data.valid.domain.clone()),
            evaluate_at=self.evaluate_at,
        )


def mixture_shares(
    mixture: str | Mapping[str, float], domains: tuple[str, ...], sizes: tuple[int, ...], temperature: float
) -> NDArray[np.float64]:
    """
    Return the share of each domain, ``(K,)``, which sum to 1.

    Args:
        mixture: ``uniform``, ``proportional``, ``temperature``, or a weight by name; a domain that is not named has none.
        domains: K names.
        sizes: K sizes.
        temperature: What sizes are raised to.

    Raises:
        ValueError: A domain is unknown, or all weights are 0.
    """
    if isinstance(mixture, Mapping):
        unknown = sorted(set(mixture) - set(domains))
        if unknown:
            raise ValueError(f"the mixture names the domain '{unknown[0]}'; the data set has {', '.join(domains)}")
        weights = np.array([mixture.get(name, 0.0) for name in domains])
    else:
        weights = np.array(sizes, dtype=np.float64) ** {"uniform": 0.0, "proportional": 1.0, "temperature": temperature}[mixture]
    if not weights.sum() > 0:
        raise ValueError("the mixture gives every domain a share of 0")
    shares: NDArray[np.float64] = weights / weights.sum()

    return shares


def draw_rows(
    shares: NDArray[np.float64], counts: tuple[int, ...], size: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Draw the domain and the row of ``size`` samples, with replacement; two numbers are drawn a sample whatever the shares are.

    Args:
        shares: ``(K,)``, summing to 1.
        counts: Rows of each domain.
        size: Samples.
        rng: Numbers.

    Returns:
        ``(size,)`` and ``(size,)``.
    """
    which, where = rng.random((2, size))
    domain = np.searchsorted(np.cumsum(shares), which, side="right")
    domain = np.minimum(domain, np.flatnonzero(shares)[-1])  # the sum of shares may end a little below 1

    return domain.astype(np.int64), (where * np.array(counts)[domain]).astype(np.int64)


def token_mean(losses: BatchLosses) -> Tensor:
    """Return the mean loss over all tokens of the batch: no weighting."""
    return losses.tokens.sum() / losses.mask.sum()


def build_model(data: PretrainingView, run: Run) -> nn.Module:
    """Build the workload's model, its initial weights from the stream ``init``, which all methods share."""
    return data.workload.build_model(run.torch_rng("init"), run.device)


def train_steps(
    model: nn.Module, data: PretrainingView, run: Run, loss: Loss, steps: int, shares: NDArray[np.float64] | None = None
) -> Iterator[int]:
    """
    Train ``model`` in place, and yield after each step how many are done.

    The batch of a step follows from the trial's seed, the step and the mixture alone: each has a random stream of its own.

    Args:
        model: Trained.
        data: The view; its recipe has optimiser, rate, cut and batch size.
        run: The trial, which counts the passes.
        loss: What is minimised.
        steps: How many, which the schedule covers.
        shares: Mixture of the domains; the suite's by default.

    Raises:
        TrialDiverged: The loss is not finite.
    """
    recipe, workload = data.recipe, data.workload
    shares = data.shares if shares is None else shares
    optimizer = recipe.build_optimizer(model)
    descent = Descent(optimizer, lambda step: step_factor(step, steps, "cosine", recipe.warmup, recipe.final))
    model.train()
    for step in range(steps):
        drawn = workload.batch(shares, recipe.batch_size, run.rng(f"batches/{step}"))
        run.witness("batches", drawn.inputs.numpy())
        batch = drawn.to(run.device)
        losses = BatchLosses(*workload.token_losses(model, batch), batch, step, steps)
        value = loss(losses)
        if not math.isfinite(float(value.detach())):
            raise TrialDiverged(f"the loss is {float(value.detach())} at step {step}")
        descent.backward(value)
        if recipe.gradient_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_norm)
        descent.step()
        run.count(forward=len(drawn.inputs), backward=len(drawn.inputs))
        yield step + 1


def pretrain(data: PretrainingView, run: Run, loss: Loss = token_mean, shares: NDArray[np.float64] | None = None) -> Trained:
    """
    Train the workload's model for ``run.budget.steps`` steps and take its plain validation loss at the checkpoints (curve ``valid_loss``, over domains).

    Args:
        data: The view.
        run: The trial.
        loss: What is minimised.
        shares: Mixture of the domains; the suite's by default.

    Raises:
        TrialDiverged: A loss is not finite.
    """
    workload, steps = data.workload, run.budget.require("steps")
    checkpoints = {max(1, round(share * steps)) for share in data.evaluate_at}
    model = build_model(data, run)
    valid = []
    for done in train_steps(model, data, run, loss, steps, shares):
        if done in checkpoints:
            valid.append(workload.losses(workload.outputs(model, data.valid), data.valid))
            run.log(done, valid_loss=_macro(valid[-1], data.valid.domain.numpy()))

    return Trained(model, np.array(sorted(checkpoints), dtype=np.int64), np.stack(valid))


def _macro(losses: NDArray[np.float64], domain: NDArray[np.int64]) -> float:
    return float(np.mean([losses[domain == k].mean() for k in np.unique(domain)]))
