"""
What the methods of this task train with: a network of the recipe, and training by epochs that keeps the best one and the trust in each label.

>>> training = Training([network], optimizer, data, run)                                       # doctest: +SKIP
>>> for batch in training.batches():                                                           # doctest: +SKIP
...     losses = cross_entropy(training.logits(batch.x), batch.y, reduction="none")
...     training.trust(batch, weights)
...     training.descend((weights * losses).mean())
>>> training.fitted()                                                                          # doctest: +SKIP
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.training import supervised
from harness.training.classifier import Fitted, LabelledSet, NetworkEnsemble
from harness.training.descent import Stepper
from harness.training.supervised import Batch, TrainingView
from plugins.tasks.noisy_labels.recipe import Recipe

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["Batch", "Step", "Training", "TrainingData", "build_network", "fit_by_loss", "fit_epochs", "sample_batch"]

TrainingData = TrainingView[Recipe]
"""What training needs of a task's view; the validation set chooses the best epoch."""


def build_network(data: TrainingData, run: Run, stream: str = "init") -> nn.Sequential:
    """Build the recipe's network for this data, its initial weights drawn from the named stream (a second network takes another stream)."""
    return data.recipe.build_model(data.train.x.shape[1:], data.n_classes, run.torch_rng(stream), run.device)


def sample_batch(train: LabelledSet, size: int, generator: torch.Generator, epoch: int) -> Batch:
    """Draw a batch with replacement from a set that is on the device already; it belongs to no step, so that its progress is 0."""
    index = torch.randint(len(train), (size,), generator=generator)
    place = index.to(train.y.device)

    return Batch(epoch=epoch, progress=0.0, index=place, x=train.x[place], y=train.y[place])


class Training(supervised.Training):
    """
    Training by epochs (:class:`harness.training.supervised.Training`) that keeps the state at the best validation score, the earliest on a tie, and the
    newest trust in each label.

    Args:
        networks: What is trained and validated; their probabilities are averaged.
        optimizer: Over all of them.
        data: The task's view.
        run: The trial.
    """

    def __init__(self, networks: Sequence[nn.Module], optimizer: Stepper, data: TrainingData, run: Run) -> None:
        super().__init__(networks[0] if len(networks) == 1 else nn.ModuleList(networks), optimizer, data, run)
        self._ensemble = NetworkEnsemble(networks)
        self._select_by = data.recipe.select_by
        self._n_train = len(data.train)
        self._weights: Tensor | None = None
        self._best, self._best_score = self._ensemble, -math.inf

    def trust(self, batch: Batch, weights: Tensor) -> None:
        """Keep the trust ``(B,)`` in the labels of a batch, any scale, higher is more."""
        if self._weights is None:
            self._weights = torch.full((self._n_train,), math.nan, device=self.run.device)
        self._weights[batch.index] = weights.detach().to(self._weights.dtype)

    def validate(self) -> dict[str, float]:
        """Score the networks, and keep a copy of them if none was better."""
        score = _score(self._ensemble, self.valid, self._select_by)
        if score > self._best_score:
            self._best, self._best_score = self._ensemble.snapshot(), score

        return {f"valid_{self._select_by}": score}

    def fitted(self) -> Fitted:
        """Return both classifiers, and the trust in each label; labels that no step has weighted get the mean: no opinion about them."""
        weights = self._weights

        return Fitted(self._ensemble, self._best, None if weights is None else torch.where(weights.isnan(), weights.nanmean(), weights))


def fit_by_loss(data: TrainingData, run: Run, loss: Callable[[Tensor, Batch], tuple[Tensor, Tensor | None]]) -> Fitted:
    """
    Train one network of the recipe with its optimiser on a loss of the logits: all that a method needs which changes only the loss.

    Args:
        data: The task's view.
        run: The trial.
        loss: Maps logits ``(B, C)`` and the batch to the scalar that is minimised and the weight ``(B,)`` of each sample, or ``None``.
    """
    network = build_network(data, run)
    training = Training([network], data.recipe.build_optimizer(network), data, run)
    for batch in training.batches():
        value, weights = loss(training.logits(batch.x), batch)
        if weights is not None:
            training.trust(batch, weights)
        training.descend(value)

    return training.fitted()


@dataclass(frozen=True)
class Step:
    """
    What a step of :func:`fit_epochs` reports.

    Args:
        loss: Scalar, for the curve.
        weights: ``(B,)``, the trust in each sample of the batch (higher is more), or ``None``.
    """

    loss: Tensor
    weights: Tensor | None = None


def fit_epochs(
    networks: Sequence[nn.Module],
    data: TrainingData,
    run: Run,
    step: Callable[[Batch], Step],
    before_epoch: Callable[[int], None] | None = None,
) -> Fitted:
    """
    Call ``step`` for each batch; it owns every update and counts its own passes.

    Deprecated: write the loop over :meth:`harness.training.supervised.Training.batches` instead.

    Args:
        networks: What is validated and returned.
        data: The task's view.
        run: The trial.
        step: Called with each batch, the networks in training mode.
        before_epoch: Called with the epoch's number before its first batch.
    """
    warnings.warn(
        "fit_epochs goes with version 0.3; write the loop over plugins.tasks.noisy_labels.loop.Training.batches",
        DeprecationWarning,
        stacklevel=2,
    )
    training = Training(networks, data.recipe.build_optimizer(*networks), data, run)
    for epoch, batches in training.epochs():
        if before_epoch is not None:
            before_epoch(epoch)
        for batch in batches:
            report = step(batch)
            if report.weights is not None:
                training.trust(batch, report.weights)
            training.note(report.loss)

    return training.fitted()


def _score(ensemble: NetworkEnsemble, valid: LabelledSet, select_by: str) -> float:
    predicted = ensemble.predict_proba(valid.x).argmax(dim=1)
    truth = valid.y.cpu()
    if select_by == "f1":
        hits = ((predicted == 1) & (truth == 1)).sum()
        named = (predicted == 1).sum() + (truth == 1).sum()

        return float(2 * hits / named.clamp(min=1))  # 0 where class 1 is neither predicted nor present

    return float((predicted == truth).double().mean())
