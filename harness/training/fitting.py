"""The loop over epochs and batches of a picture classifier: a method brings the loss, and an optimiser or a network of its own where that is its point."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from harness.errors import TrialDiverged
from harness.training.classifier import LabelledSet
from harness.training.image_recipe import ImageRecipe
from harness.training.networks import Network, Output
from harness.training.weight_watch import WeightWatch

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["Batch", "Loss", "Trained", "TrainingView", "build_network", "fit_network", "labels_loss", "predict_logits"]

PREDICT_BATCH = 1024


class TrainingView(Protocol):
    """What the loop needs of a task's view."""

    @property
    def train(self) -> LabelledSet:
        """The training set; the position of a sample is its index."""

    @property
    def valid(self) -> LabelledSet:
        """The validation set, for the curve."""

    @property
    def n_classes(self) -> int:
        """Number of classes C."""

    @property
    def recipe(self) -> ImageRecipe:
        """Network, batches, schedule, augmentation."""


@dataclass(frozen=True)
class Batch:
    """
    One training batch on the device of the trial.

    Args:
        epoch: Counted from 0.
        progress: Share of all steps that is done, in [0, 1).
        index: ``(B,)``, positions in the training set.
        x: ``(B, ...)``, augmented.
        y: ``(B,)``, labels.
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


Loss = Callable[[Output, Batch], Tensor]
"""Maps a network's output and the batch to the scalar that is minimised; a pure function of both where seeds are to be trained at once."""


@dataclass(frozen=True)
class Trained:
    """
    What training gives.

    Args:
        network: After the last epoch.
        samples: ``(E,)``, trained on until the end of each epoch.
        valid_accuracy: ``(E,)``, behind each epoch.
        weight_norms: ``(E + 1,)``, mean norm of the hidden layers' weights before training and behind each epoch.
        effective_steps: ``(E,)``, mean distance by which a step of the epoch turns them (:func:`harness.training.weight_watch.turns`).
    """

    network: Network
    samples: np.ndarray
    valid_accuracy: np.ndarray
    weight_norms: np.ndarray
    effective_steps: np.ndarray


def labels_loss(output: Output, batch: Batch) -> Tensor:
    """Return the mean cross entropy of the labels."""
    return cross_entropy(output.logits, batch.y)


def build_network(data: TrainingView, run: Run, dropout: float = 0.0) -> Network:
    """Build the recipe's network for this data, its initial weights from the stream ``init``, which all methods share."""
    return data.recipe.build_network(data.train.x.shape[1:], data.n_classes, run.torch_rng("init"), run.device, dropout)


def fit_network(
    network: Network, optimizer: Optimizer, data: TrainingView, run: Run, loss: Loss = labels_loss, teacher: Network | None = None
) -> Trained:
    """
    Train for ``run.budget.epochs`` epochs.

    The loop owns the order of the batches (stream ``batches``), the augmentation (stream ``augmentation``), the schedule, the passes that are counted and the
    curves (``train_loss``, ``valid_accuracy``, ``weight_norm``, ``effective_step``). The last, incomplete batch of an epoch is dropped.

    Args:
        network: Trained in place.
        optimizer: Over its parameters, and whatever else the loss trains; its rates are the base of the schedule.
        data: The task's view.
        run: The trial.
        loss: What is minimised.
        teacher: In evaluation mode; sees the same augmented batch.

    Raises:
        TrialDiverged: The mean loss of an epoch is not finite.
        ValueError: The training set is smaller than one batch.
    """
    recipe, epochs = data.recipe, run.budget.require("epochs")
    train = data.train.to(run.device)
    steps = steps_of_an_epoch(len(train), recipe.batch_size)
    order, draws = run.torch_rng("batches"), run.torch_rng("augmentation")
    schedule = recipe.build_schedule(optimizer, epochs * steps)
    watch = WeightWatch(network)
    accuracies = []
    for epoch in range(epochs):
        network.train()
        losses = []
        for step, index in enumerate(epoch_batches(len(train), recipe.batch_size, order, run)):
            place = index.to(run.device)
            x = recipe.augment(train.x[place], draws)
            progress = (epoch * steps + step) / (epochs * steps)
            batch = Batch(epoch, progress, place, x, train.y[place], None if teacher is None else teacher_output(teacher, x, run))
            with recipe.autocast(run.device):
                output = network.outputs(x)
            value = loss(Output(output.logits.float(), output.features.float(), output.maps), batch)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            schedule.step()
            run.count(forward=len(index), backward=len(index))
            watch.step()
            losses.append(value.detach())

        mean_loss = float(torch.stack(losses).mean())
        if not math.isfinite(mean_loss):
            raise TrialDiverged(f"the mean training loss is {mean_loss} in epoch {epoch}")
        watch.close_epoch()
        accuracies.append(_accuracy(network, data.valid))
        run.log(
            epoch,
            train_loss=mean_loss,
            valid_accuracy=accuracies[-1],
            weight_norm=watch.norms[-1],
            effective_step=watch.effective_steps[-1],
        )

    return Trained(
        network,
        samples=np.arange(1, epochs + 1) * steps * recipe.batch_size,
        valid_accuracy=np.array(accuracies),
        weight_norms=np.array(watch.norms),
        effective_steps=np.array(watch.effective_steps),
    )


def epoch_batches(n: int, size: int, order: torch.Generator, run: Run) -> Iterator[Tensor]:
    """Yield the positions ``(size,)`` of each whole batch of an epoch, on the CPU, and witness the order."""
    permutation = torch.randperm(n, generator=order)
    run.witness("batches", permutation.numpy())
    for index in torch.split(permutation, size):
        if len(index) == size:
            yield index


@torch.no_grad()
def teacher_output(teacher: Network, x: Tensor, run: Run) -> Output:
    """Return what the teacher says of a batch, and count the pass."""
    run.count(forward=len(x))

    return teacher.outputs(x)


@torch.no_grad()
def predict_logits(network: Network, x: Tensor) -> Tensor:
    """Map ``(n, ...)`` to logits ``(n, C)``, float32 on the CPU, in evaluation mode; the network's mode is left as found."""
    device = next(network.parameters()).device
    mode = network.training
    network.eval()
    logits = torch.cat([network(part.to(device)).float().cpu() for part in torch.split(x, PREDICT_BATCH)])
    network.train(mode)

    return logits


def _accuracy(network: Network, part: LabelledSet) -> float:
    return float((predict_logits(network, part.x).argmax(dim=1) == part.y.cpu()).double().mean())


def steps_of_an_epoch(n: int, batch_size: int) -> int:
    if n < batch_size:
        raise ValueError(f"the training set has {n} samples, fewer than one batch of {batch_size}")

    return n // batch_size
