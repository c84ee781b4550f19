"""All candidates as one program: their losses, and their retraining (``torch.func``). A candidate's figures are those that it has alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from harness.training.classifier import LabelledSet
from harness.training.stacking import Stacked
from harness.training.supervised import Training
from plugins.tasks.filter_pruning.network import LayeredNetwork

if TYPE_CHECKING:
    from harness.context import Run
    from harness.training.supervised import TrainingRecipe, TrainingView

__all__ = ["CandidateStack", "CandidateTraining", "Scored", "retrain"]

SAMPLES = 250  # a pass: what hundreds of networks make of more does not stay in the cache


class Scored(NamedTuple):
    """
    How candidates do on a set.

    Args:
        loss: ``(N,)`` float64, mean cross entropy in nats.
        accuracy: ``(N,)`` float64, in [0, 1].
    """

    loss: Tensor
    accuracy: Tensor


class CandidateStack(nn.Module):
    """Networks of one architecture that see the same samples: ``(B, ...)`` becomes the logits ``(N, B, C)``."""

    def __init__(self, networks: Sequence[LayeredNetwork]) -> None:
        super().__init__()
        self.stacked = Stacked(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(N, B, C)``."""
        logits: Tensor = torch.vmap(lambda parameters: self.stacked.call(parameters, {}, x))(self.stacked.parameters)

        return logits

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean cross entropy of each, ``(N,)``."""
        logits = self(x)

        return cross_entropy(logits.transpose(1, 2), y.expand(len(logits), -1), reduction="none").mean(dim=1)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the class that each names for each sample, ``(N, n)`` uint8 on the CPU."""
        device = next(iter(self.stacked.parameters.values())).device

        return torch.cat([self(part.to(device)).argmax(dim=2).to(torch.uint8).cpu() for part in torch.split(x, SAMPLES)], dim=1)

    @torch.no_grad()
    def score(self, data: LabelledSet) -> Scored:
        """Evaluate all of them."""
        device = next(iter(self.stacked.parameters.values())).device
        losses, right = [], []
        for x, y in zip(torch.split(data.x, SAMPLES), torch.split(data.y, SAMPLES), strict=True):
            logits = self(x.to(device)).double()
            y = y.to(device).expand(len(logits), -1)
            losses.append(cross_entropy(logits.transpose(1, 2), y, reduction="none").sum(dim=1))
            right.append((logits.argmax(dim=2) == y).sum(dim=1))

        return Scored(torch.stack(losses).sum(dim=0).cpu() / len(data), torch.stack(right).sum(dim=0).double().cpu() / len(data))


class CandidateTraining(Training):
    """Training of all candidates on the same batches by one optimiser; SGD takes each value by itself, so that none knows of the others."""

    def validate(self) -> dict[str, float]:
        """Return nothing: who needs a figure behind each epoch asks the stack."""
        return {}


def retrain(stack: CandidateStack, data: TrainingView[TrainingRecipe], run: Run, epochs: int, rate: float, decay: float) -> None:
    """
    Retrain all candidates, each from where it is.

    Args:
        stack: Trained in place.
        data: What is trained on, and the recipe.
        run: Its stream ``batches`` orders the samples, for all candidates alike.
        epochs: Passes over the training set, 0 or more.
        rate: Highest learning rate.
        decay: Of weights.
    """
    optimizer = SGD(list(stack.stacked.parameters.values()), lr=rate, momentum=0.9, weight_decay=decay)
    training = CandidateTraining(stack, optimizer, data, run)
    for batch in training.batches(epochs=epochs) if epochs > 0 else ():
        losses = stack.losses(batch.x, batch.y)
        run.count(forward=losses.numel() * len(batch.x))
        training.descend(losses.sum(), samples=losses.numel() * len(batch.x))
