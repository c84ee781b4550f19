"""Training of picture classifiers whose weights are watched; a method brings the loss, and an optimiser or a network of its own where that is its point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness.training import supervised
from harness.training.classifier import LabelledSet
from harness.training.descent import Stepper
from harness.training.early_stopping import EarlyStopping, StoppableRecipe
from harness.training.networks import Network, Output
from harness.training.supervised import Batch, Training, predict_logits
from harness.training.weight_watch import WeightWatch

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["Batch", "Loss", "Trained", "TrainingView", "WatchedTraining", "build_network", "fit_network", "labels_loss", "predict_logits"]

TrainingView = supervised.TrainingView[StoppableRecipe]
"""What training needs of a task's view."""

Loss = Callable[[Output, Batch], Tensor]
"""Maps a network's output and the batch to the scalar that is minimised; a pure function of both where seeds are to be trained at once."""


@dataclass(frozen=True)
class Trained:
    """
    What training gives; where it stopped early, all of it is as if it had ended behind the best epoch, the last of E.

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


class WatchedTraining(Training):
    """
    Training by epochs (:class:`harness.training.supervised.Training`) that watches the weights: curves ``weight_norm`` and ``effective_step`` beside
    ``train_loss`` and ``valid_accuracy``, and stops early where the recipe has patience.

    Args:
        network: Trained in place.
        optimizer: Over its parameters, and whatever else the loss trains; its rates are the base of the schedule.
        data: The task's view.
        run: The trial.
    """

    def __init__(self, network: Network, optimizer: Stepper, data: TrainingView, run: Run) -> None:
        super().__init__(network, optimizer, data, run)
        self._watched = network
        self._watch = WeightWatch(network)
        self._accuracies: list[float] = []
        self._samples: list[int] = []
        self._steps = 0
        patience = data.recipe.patience
        self._stopping = None if patience is None else EarlyStopping(patience)
        self._best: dict[str, Tensor] = {}

    def epochs(self, train: LabelledSet | None = None, epochs: int | None = None) -> Iterator[tuple[int, Iterator[Batch]]]:
        """Yield the epochs of :meth:`harness.training.supervised.Training.epochs`, until patience is at its end."""
        for epoch, batches in super().epochs(train, epochs):
            if self._stopping is not None and self._stopping.is_over:
                next(batches)  # its order is witnessed: trials that stop at different epochs are still seen to be paired
            else:
                yield epoch, batches

    def step(self, **figures: Tensor) -> None:
        """Let the optimiser step, and look how far that turned the weights."""
        super().step(**figures)
        self._steps += 1
        self._watch.step()

    def validate(self) -> dict[str, float]:
        """Return the validation accuracy, and what the steps of the epoch did to the weights."""
        self._watch.close_epoch()
        figures = super().validate()
        self._accuracies.append(figures["valid_accuracy"])
        self._samples.append(self._steps * self.recipe.batch_size)
        if self._stopping is not None and self._stopping.improves(figures["valid_accuracy"]):
            self._best = {name: value.clone() for name, value in self._watched.state_dict().items()}

        return {**figures, "weight_norm": self._watch.norms[-1], "effective_step": self._watch.effective_steps[-1]}

    def trained(self) -> Trained:
        """Return the network, and what was seen of it epoch by epoch."""
        n = len(self._samples)
        if self._stopping is not None:
            self._watched.load_state_dict(self._best)
            n = self._stopping.best + 1

        return Trained(
            self._watched,
            samples=np.array(self._samples[:n]),
            valid_accuracy=np.array(self._accuracies[:n]),
            weight_norms=np.array(self._watch.norms[: n + 1]),
            effective_steps=np.array(self._watch.effective_steps[:n]),
        )


def fit_network(
    network: Network, optimizer: Stepper, data: TrainingView, run: Run, loss: Loss = labels_loss, teacher: Network | None = None
) -> Trained:
    """
    Train for ``run.budget.epochs`` epochs on a loss of the network's output: all that a method needs which changes the loss or the optimiser.

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
    training = WatchedTraining(network, optimizer, data, run)
    for batch in training.batches():
        seen = batch if teacher is None else replace(batch, teacher=teacher_output(teacher, batch.x, run))
        training.descend(loss(training.outputs(batch.x), seen))

    return training.trained()


@torch.no_grad()
def teacher_output(teacher: Network, x: Tensor, run: Run) -> Output:
    """Return what the teacher says of a batch, and count the pass."""
    run.count(forward=len(x))

    return teacher.outputs(x)
