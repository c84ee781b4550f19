"""Continual learning in the space of fields: the paper's method, its two ablations, and its theory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import torch
from annotated_types import Ge, Gt
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from harness import Search, TrialUnsupported
from plugins.binary_variational_cl.fields import annealed_beta, divergence_slope, log_likelihood, network_outputs, sampled_outputs
from plugins.tasks.continual_binary.protocol import Foresight, Report
from plugins.tasks.continual_binary.steps import labels_of, task_batches, task_descent
from plugins.tasks.continual_binary.straight_through import binary_sign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from harness import Run
    from plugins.tasks.continual_binary.protocol import Stream, TaskView
    from plugins.tasks.continual_binary.steps import Batch

__all__ = ["BinaryVariational", "ConstantBeta", "FieldLearner", "MeanField", "WithoutKL"]

POINTS = 10  # of the curve of a task


class AdamSettings(TypedDict):
    """What the released code sets of Adam, apart from its rate."""

    betas: tuple[float, float]
    eps: float


PERCEPTRON_ADAM: AdamSettings = {"betas": (0.9, 0.999), "eps": 1e-20}
NETWORK_ADAM: AdamSettings = {"betas": (0.9, 0.99), "eps": 1e-8}


@dataclass
class BinaryVariational:
    """
    Train the fields of a distribution of binary weights by the gradient of the expected loss, and hold them by the divergence from a prior.

    Args:
        kl: What the prior is: the distribution before the last step, as in the paper's code of deep networks, or that at the end of the task before, as in
            its theory and its perceptron.
        kl_weight: Of the divergence, beside the sum of the losses over the training set of a task where the prior is that of a task, beside the sum over a
            batch where it is that of a step.
        growth: How far beta grows over all tasks (:func:`plugins.binary_variational_cl.fields.annealed_beta`); a perceptron's is 1.
        prior: Whether the first task has a prior too, uniform weights; with that of a task.
        spread: Standard deviation of the first fields.
    """

    kl: Literal["step", "task"] = "step"
    kl_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    growth: Annotated[float, Ge(0), Search(0.25, 4.0, log=True)] = 2.0
    prior: bool = False
    spread: Annotated[float, Gt(0), Search(0.03, 3.0, log=True)] = 1.0

    def begin(self, stream: Stream, run: Run) -> FieldLearner:
        """Return a learner."""
        return FieldLearner(stream, run, self)


@dataclass
class WithoutKL:
    """
    Leave out the divergence: what remains is that a narrow distribution has a small gradient.

    Args:
        growth: As in :class:`BinaryVariational`.
        spread: Likewise.
    """

    growth: Annotated[float, Ge(0), Search(0.25, 4.0, log=True)] = 2.0
    spread: Annotated[float, Gt(0), Search(0.03, 3.0, log=True)] = 1.0

    def begin(self, stream: Stream, run: Run) -> FieldLearner:
        """Return a learner."""
        return FieldLearner(stream, run, BinaryVariational(kl_weight=0.0, growth=self.growth, spread=self.spread))


@dataclass
class ConstantBeta:
    """
    Leave beta at 1: what remains is the divergence.

    Args:
        kl: As in :class:`BinaryVariational`.
        kl_weight: Likewise.
        spread: Likewise.
    """

    kl: Literal["step", "task"] = "step"
    kl_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    spread: Annotated[float, Gt(0), Search(0.03, 3.0, log=True)] = 1.0

    def begin(self, stream: Stream, run: Run) -> FieldLearner:
        """Return a learner."""
        return FieldLearner(stream, run, BinaryVariational(kl=self.kl, kl_weight=self.kl_weight, growth=0.0, spread=self.spread))


class FieldLearner:
    """
    Trains fields by Adam, which starts anew with each task.

    Args:
        stream: What comes.
        run: The trial.
        settings: The method.
    """

    def __init__(self, stream: Stream, run: Run, settings: BinaryVariational) -> None:
        self._stream, self._run, self._settings = stream, run, settings
        generator = run.torch_rng("network")
        self.fields = [
            (settings.spread * torch.randn(after, before, generator=generator)).to(run.device).requires_grad_()
            for before, after in pairwise(stream.sizes)
        ]
        self._noise = run.torch_rng("noise")
        self._prior = [torch.zeros_like(layer) for layer in self.fields] if settings.prior and settings.kl == "task" else None
        self._beta = self._beta_at(0.0)

    def learn(self, task: TaskView) -> None:
        """Train on the task; its distribution is the prior of the next."""
        recipe, steps = self._stream.recipe, self._run.budget.require("steps")
        adam = PERCEPTRON_ADAM if self._stream.is_perceptron else NETWORK_ADAM
        optimizer = AdamW(self.fields, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **adam)
        descent = task_descent(self._stream, optimizer, self._run)
        before = [layer.detach().clone() for layer in self.fields]
        for batch in task_batches(self._stream, task, self._run):
            self._beta = self._beta_at(batch.progress)
            loss = self._loss(batch)
            descent.backward(loss)
            self._add_divergence(before, batch)
            before = [layer.detach().clone() for layer in self.fields]
            descent.step()
            if descent.done % max(steps // POINTS, 1) == 0:
                self._run.log(task.index * steps + descent.done, loss=float(loss.detach()) / len(batch.y), beta=self._beta)
        if self._settings.kl == "task":
            self._prior = [self._beta * layer.detach() for layer in self.fields]

    @torch.no_grad()
    def report(self, tests: Sequence[Tensor]) -> Report:
        """Label the test sets, by the signs of the fields and by the mean weights."""
        means = [torch.tanh(self._beta * layer) for layer in self.fields]
        signs = [binary_sign(layer) for layer in self.fields]
        by_signs, by_means = ([labels_of(network_outputs(weights, x.to(self._run.device))) for x in tests] for weights in (signs, means))

        return Report(by_signs, by_means, means[0][0] if self._stream.is_perceptron else None)

    def _beta_at(self, progress: float) -> float:
        return 1.0 if self._stream.is_perceptron else annealed_beta(progress, self._settings.growth)

    def _loss(self, batch: Batch) -> Tensor:
        """Return the sum over the batch of minus the log likelihood: exact for a perceptron, with sampled sums for a network of several layers."""
        if self._stream.is_perceptron:
            return -log_likelihood(self.fields[0][0], batch.x, 2.0 * batch.y - 1, self._beta).sum()
        noise = [torch.randn(len(batch.y), len(layer), generator=self._noise).to(batch.x.device) for layer in self.fields]

        return cross_entropy(sampled_outputs(self.fields, batch.x, self._beta, noise), batch.y, reduction="sum")

    def _add_divergence(self, before: Sequence[Tensor], batch: Batch) -> None:
        """Add the slope of the divergence to the gradients, once an epoch where the prior is that of a task, at every step where it is that of a step."""
        if self._settings.kl == "step":
            priors, weight = [self._beta * layer for layer in before], self._settings.kl_weight
        elif self._prior is not None:
            priors, weight = self._prior, self._settings.kl_weight * batch.share
        else:
            return
        with torch.no_grad():
            slopes = [layer.grad for layer in self.fields if layer.grad is not None]
            for layer, prior, slope in zip(self.fields, priors, slopes, strict=True):
                slope += weight * divergence_slope(layer, prior, self._beta)


@dataclass
class MeanField:
    """
    Foresee the order parameters of the students of a perceptron, and learn nothing.

    Args:
        branch: Which solution for the first task: that of the greatest free entropy, or one of the two that there are around the first-order transition.
    """

    branch: Literal["equilibrium", "poor", "good"] = "equilibrium"

    def begin(self, stream: Stream, run: Run) -> FromTheory:
        """
        Return what stands in the place of a learner.

        Raises:
            TrialUnsupported: There is no theory of these data.
        """
        if not stream.foresight:
            raise TrialUnsupported("the mean field is that of a perceptron with one teacher or two; take the data set 'perceptron'")
        if self.branch == "equilibrium":
            return FromTheory(max(stream.foresight.values(), key=lambda foresight: foresight.free_entropy))

        return FromTheory(stream.foresight[self.branch])


class FromTheory:
    """Gives what was foreseen, whatever comes."""

    def __init__(self, foresight: Foresight) -> None:
        self._foresight = foresight

    def learn(self, task: TaskView) -> None:
        """Learn nothing."""

    def report(self, tests: Sequence[Tensor]) -> Report:
        """Give all of it."""
        return Report(foresight=self._foresight)
