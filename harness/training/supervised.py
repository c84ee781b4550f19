"""
Training by epochs on labelled samples: the method owns its step, and what all methods have in common is here.

>>> training = Training(network, optimizer, data, run)                       # doctest: +SKIP
>>> for batch in training.batches():                                         # doctest: +SKIP
...     training.descend(cross_entropy(training.logits(batch.x), batch.y))
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor, nn

from harness.errors import TrialDiverged
from harness.training.classifier import LabelledSet
from harness.training.descent import Descent, Stepper
from harness.training.networks import Network, Output

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["Batch", "Training", "TrainingRecipe", "TrainingView", "epoch_batches", "predict_logits", "steps_of_an_epoch"]

R_co = TypeVar("R_co", bound="TrainingRecipe", covariant=True)

PREDICT_BATCH = 1024


class TrainingRecipe(Protocol):
    """What is needed of the recipe that the methods of a suite share."""

    batch_size: int

    def rate(self, step: int, steps: int) -> float:
        """Return what the learning rate is multiplied with where ``step`` of ``steps`` steps are done."""

    def augment(self, x: Tensor, *generators: torch.Generator) -> Tensor:
        """Return a batch as it is trained on; with several generators, the batches of as many seeds one after the other."""

    def autocast(self, device: str) -> AbstractContextManager[object]:
        """Return the context of the forward pass."""


class TrainingView(Protocol[R_co]):
    """What is needed of a task's view."""

    @property
    def train(self) -> LabelledSet:
        """The training set; the position of a sample is its index."""

    @property
    def valid(self) -> LabelledSet:
        """The validation set."""

    @property
    def n_classes(self) -> int:
        """Number of classes C."""

    @property
    def recipe(self) -> R_co:
        """Batches, schedule, augmentation."""


@dataclass(frozen=True)
class Batch:
    """
    One training batch on the device of the trial.

    Args:
        epoch: Counted from 0.
        progress: Share of all steps that is done, in [0, 1).
        index: ``(B,)``, positions in the training set.
        x: ``(B, ...)``, augmented.
        y: ``(B,)``, labels as given.
        teacher: What the teacher says of ``x``, without gradient, where there is one.
    """

    epoch: int
    progress: float
    index: Tensor
    x: Tensor
    y: Tensor
    teacher: Output | None = None

    def require_teacher(self) -> Output:
        """
        Return what the teacher says.

        Raises:
            ValueError: There is none.
        """
        if self.teacher is None:
            raise ValueError("this loss needs a teacher: pass it to 'fit_network'")

        return self.teacher


class Training:
    """
    The order of the batches (stream ``batches``), their augmentation (stream ``augmentation``), the rate of each step, the passes that are counted, the
    curves, and the validation behind each epoch.

    What happens in a step is up to the loop over :meth:`batches`. In the end it calls :meth:`descend`; or :meth:`backward`, as often as there are losses, and
    :meth:`step`, with whatever belongs before and after; or :meth:`note`, where the method has moved the weights itself.

    Args:
        network: In training mode at the start of each epoch.
        optimizer: Over what is trained; its rates are the base of the recipe's schedule.
        data: The task's view.
        run: The trial.
    """

    def __init__(self, network: nn.Module, optimizer: Stepper, data: TrainingView[TrainingRecipe], run: Run) -> None:
        self.network = network
        self.run = run
        self.recipe = data.recipe
        self.valid = data.valid
        self._optimizer = optimizer
        self._train = data.train
        self._order, self._draws = run.torch_rng("batches"), run.torch_rng("augmentation")
        self._descent = Descent(optimizer, lambda step: 1.0)
        self._losses: list[Tensor] = []  # of the step to come
        self._epoch = 0

    def batches(self, train: LabelledSet | None = None, epochs: int | None = None) -> Iterator[Batch]:
        """
        Yield the batches of all epochs, one after the other; the last, incomplete one of an epoch is left out.

        Args:
            train: Other samples than the view's, for training in phases: streams and epochs go on behind the last call's, the schedule begins anew.
            epochs: Instead of ``run.budget.epochs``.

        Raises:
            TrialDiverged: The mean loss of an epoch is not finite.
            ValueError: There are fewer samples than one batch has.
        """
        for _, batches in self.epochs(train, epochs):
            yield from batches

    def epochs(self, train: LabelledSet | None = None, epochs: int | None = None) -> Iterator[tuple[int, Iterator[Batch]]]:
        """Yield each epoch's number and its batches, as :meth:`batches` has them, where a method has something to do between two epochs."""
        samples = (self._train if train is None else train).to(self.run.device)
        wanted = self.run.budget.require("epochs") if epochs is None else epochs
        steps = wanted * steps_of_an_epoch(len(samples), self.recipe.batch_size)
        self._descent = Descent(self._optimizer, lambda step: self.recipe.rate(step, steps))
        for epoch in range(self._epoch, self._epoch + wanted):
            yield epoch, self._epoch_batches(epoch, samples, steps)

    def logits(self, x: Tensor, network: nn.Module | None = None) -> Tensor:
        """Return ``(B, C)`` of the network, or of another one, and count the pass."""
        self.run.count(forward=len(x))
        with self.recipe.autocast(self.run.device):
            logits: Tensor = (self.network if network is None else network)(x)

        return _upcast(logits)

    def outputs(self, x: Tensor, network: Network | None = None) -> Output:
        """Return all that the network gives, or another one, and count the pass."""
        self.run.count(forward=len(x))
        chosen: Network = self.network if network is None else network  # type: ignore[assignment]  # who asks for outputs has built such a network
        with self.recipe.autocast(self.run.device):
            output = chosen.outputs(x)

        return Output(_upcast(output.logits), _upcast(output.features), output.maps)

    def descend(self, loss: Tensor, samples: int | None = None, **figures: Tensor) -> None:
        """
        Take a step down ``loss``: :meth:`backward` and :meth:`step` in one.

        Args:
            loss: Scalar.
            samples: How many samples gradients went back through in this step; those of the batch by default.
            figures: Scalars of this step; the curves show their means over the epoch. ``train_loss`` is the loss itself unless it is given.
        """
        self.backward(loss, samples)
        self.step(**figures)

    def backward(self, loss: Tensor, samples: int | None = None) -> None:
        """Add the gradient of a loss to those of the step to come; arguments as of :meth:`descend`."""
        self._descent.backward(loss)
        self._losses.append(loss.detach())
        self.run.count(backward=self.recipe.batch_size if samples is None else samples)

    def step(self, **figures: Tensor) -> None:
        """Let the optimiser step, at the rate of the schedule; ``figures`` as of :meth:`descend`, and ``train_loss`` the sum of the losses of the step."""
        self._descent.step()
        loss = self._losses[0] if len(self._losses) == 1 else torch.stack(self._losses).sum()
        self._losses = []
        self._descent.note(**{"train_loss": loss, **figures})

    def note(self, train_loss: Tensor, **figures: Tensor) -> None:
        """Count a step that the method has taken without the optimiser; ``figures`` as of :meth:`descend`."""
        self._descent.skip()
        self._descent.note(train_loss=train_loss, **figures)

    def validate(self) -> dict[str, float]:
        """Return what the curves show of the network behind an epoch; called once for each."""
        return {"valid_accuracy": float((predict_logits(self.network, self.valid.x).argmax(dim=1) == self.valid.y.cpu()).double().mean())}

    def _epoch_batches(self, epoch: int, train: LabelledSet, steps: int) -> Iterator[Batch]:
        self.network.train()
        for index in epoch_batches(len(train), self.recipe.batch_size, self._order, self.run):
            yield Batch(epoch, self._descent.done / steps, index, self.recipe.augment(train.x[index], self._draws), train.y[index])

        means = {name: float(values.mean()) for name, values in self._descent.noted().items()}
        if not math.isfinite(means["train_loss"]):
            raise TrialDiverged(f"the mean training loss is {means['train_loss']} in epoch {epoch}")
        self.run.log(epoch, **means, **self.validate())
        self._epoch = epoch + 1


def epoch_batches(n: int, size: int, order: torch.Generator, run: Run) -> Iterator[Tensor]:
    """Yield the positions ``(size,)`` of each whole batch of an epoch, on the device, and witness the order."""
    permutation = torch.randperm(n, generator=order)
    run.witness("batches", permutation.numpy())
    for index in torch.split(permutation.to(run.device), size):
        if len(index) == size:
            yield index


def steps_of_an_epoch(n: int, batch_size: int) -> int:
    """
    Return how many whole batches there are.

    Raises:
        ValueError: There is none.
    """
    if n < batch_size:
        raise ValueError(f"the training set has {n} samples, fewer than one batch of {batch_size}")

    return n // batch_size


@torch.no_grad()
def predict_logits(network: nn.Module, x: Tensor) -> Tensor:
    """Map ``(n, ...)`` to logits ``(n, C)``, float32 on the CPU, in evaluation mode; the network's mode is left as found."""
    device = next(network.parameters()).device
    mode = network.training
    network.eval()
    logits = torch.cat([network(part.to(device)).float().cpu() for part in torch.split(x, PREDICT_BATCH)])
    network.train(mode)

    return logits


def _upcast(values: Tensor) -> Tensor:
    """Bring what mixed precision gives to float32."""
    return values.float() if values.dtype == torch.bfloat16 else values
