"""The one loop over epochs and batches of a classifier: a method brings what happens in a step, the loop does the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from harness.errors import TrialDiverged
from harness.training.classifier import Fitted, LabelledSet, NetworkEnsemble

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.noisy_labels.recipe import Recipe

__all__ = ["Batch", "Step", "TrainingData", "build_network", "fit_by_loss", "fit_epochs", "sample_batch"]


class TrainingData(Protocol):
    """What the loop needs of a task's view: a training and a validation set, the number of classes, the shared recipe."""

    @property
    def train(self) -> LabelledSet:
        """The training set; the position of a sample is its index."""

    @property
    def valid(self) -> LabelledSet:
        """The validation set, which chooses the best epoch."""

    @property
    def n_classes(self) -> int:
        """Number of classes C."""

    @property
    def recipe(self) -> Recipe:
        """Model, optimiser and batch size."""


@dataclass(frozen=True)
class Batch:
    """
    One training batch on the device of the trial.

    Args:
        epoch: Counted from 0.
        index: ``(B,)``, positions in the training set.
        x: ``(B, ...)``.
        y: ``(B,)``, labels as given.
    """

    epoch: int
    index: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor


@dataclass(frozen=True)
class Step:
    """
    What a step reports.

    Args:
        loss: Scalar, for the curve.
        weights: ``(B,)``, the trust in each sample of the batch (higher is more), or ``None``.
    """

    loss: torch.Tensor
    weights: torch.Tensor | None = None


def build_network(data: TrainingData, run: Run, stream: str = "init") -> nn.Sequential:
    """Build the recipe's network for this data, its initial weights drawn from the named stream (a second network takes another stream)."""
    return data.recipe.build_model(data.train.x.shape[1:], data.n_classes, run.torch_rng(stream), run.device)


def sample_batch(train: LabelledSet, size: int, generator: torch.Generator, epoch: int) -> Batch:
    """Draw a batch with replacement from a set that is on the device already."""
    index = torch.randint(len(train), (size,), generator=generator)
    place = index.to(train.y.device)

    return Batch(epoch=epoch, index=place, x=train.x[place], y=train.y[place])


def fit_epochs(
    networks: Sequence[nn.Module],
    data: TrainingData,
    run: Run,
    step: Callable[[Batch], Step],
    before_epoch: Callable[[int], None] | None = None,
) -> Fitted:
    """
    Train for ``run.budget.epochs`` epochs and keep the state after the last one and at the best validation score (the earliest on a tie).

    The loop owns the order of the batches (stream ``batches``), the validation score, the snapshot of the best epoch, the curves (``train_loss``,
    ``valid_accuracy`` or ``valid_f1``) and the collection of the sample weights; ``step`` owns every update and counts its own passes (``run.count``).
    The last, incomplete batch of an epoch is dropped.

    Args:
        networks: What is validated and returned; their probabilities are averaged.
        data: The task's view; moved to ``run.device`` here.
        run: The trial.
        step: Called with each batch, the networks in training mode.
        before_epoch: Called with the epoch's number before its first batch.

    Raises:
        TrialDiverged: The mean loss of an epoch is not finite.
        ValueError: The training set is smaller than one batch.
    """
    epochs = run.budget.require("epochs")
    size = data.recipe.batch_size
    train = data.train.to(run.device)
    n = len(train)
    if n < size:
        raise ValueError(f"the training set has {n} samples, fewer than one batch of {size}")

    ensemble = NetworkEnsemble(networks)
    order = run.torch_rng("batches")
    weights: torch.Tensor | None = None
    best, best_score = ensemble, -math.inf
    for epoch in range(epochs):
        for network in networks:
            network.train()
        if before_epoch is not None:
            before_epoch(epoch)
        permutation = torch.randperm(n, generator=order)
        run.witness("batches", permutation.numpy())
        losses = []
        for index in torch.split(permutation.to(run.device), size):
            if len(index) < size:
                continue
            report = step(Batch(epoch=epoch, index=index, x=train.x[index], y=train.y[index]))
            losses.append(report.loss.detach())
            if report.weights is not None:
                if weights is None:
                    weights = torch.full((n,), math.nan, device=run.device)
                weights[index] = report.weights.detach().to(weights.dtype)

        loss = float(torch.stack(losses).mean())
        if not math.isfinite(loss):
            raise TrialDiverged(f"the mean training loss is {loss} in epoch {epoch}")
        score = _validation_score(ensemble, data)
        run.log(epoch, **{"train_loss": loss, f"valid_{data.recipe.select_by}": score})
        if score > best_score:
            best, best_score = ensemble.snapshot(), score

    return Fitted(last=ensemble, best=best, sample_weights=None if weights is None else _fill_unseen(weights))


def fit_by_loss(data: TrainingData, run: Run, loss: Callable[[torch.Tensor, Batch], tuple[torch.Tensor, torch.Tensor | None]]) -> Fitted:
    """
    Train one network of the recipe with its optimiser on a loss of the logits: the loop of every method that changes only the loss.

    Args:
        data: The task's view.
        run: The trial.
        loss: Maps logits ``(B, C)`` and the batch to the scalar that is minimised and the weight ``(B,)`` of each sample, or ``None``.
    """
    network = build_network(data, run)
    optimizer = data.recipe.build_optimizer(network)

    def step(batch: Batch) -> Step:
        value, weights = loss(network(batch.x), batch)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        run.count(forward=len(batch.y), backward=len(batch.y))

        return Step(loss=value, weights=weights)

    return fit_epochs([network], data, run, step)


def _validation_score(ensemble: NetworkEnsemble, data: TrainingData) -> float:
    predicted = ensemble.predict_proba(data.valid.x).argmax(dim=1)
    truth = data.valid.y.cpu()
    if data.recipe.select_by == "f1":
        hits = ((predicted == 1) & (truth == 1)).sum()
        named = (predicted == 1).sum() + (truth == 1).sum()

        return float(2 * hits / named.clamp(min=1))  # 0 where class 1 is neither predicted nor present

    return float((predicted == truth).double().mean())


def _fill_unseen(weights: torch.Tensor) -> torch.Tensor:
    """Give samples that no step has weighted (dropped from every epoch) the mean weight: no opinion about them."""
    return torch.where(weights.isnan(), weights.nanmean(), weights)
