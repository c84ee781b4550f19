"""
The seeds of a cell as one program: their parameters stacked, their batches side by side, the loss mapped over them.

A step of a small network costs its overhead, hardly its arithmetic; ten seeds at once pay the overhead once. Each seed has its own initial weights, order of
batches and augmentation, from the streams that it would have alone, so that the figures agree with those of seeds trained one by one up to the rounding of
sums in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.errors import TrialDiverged
from harness.training import supervised
from harness.training.descent import Descent, Stepper
from harness.training.fitting import Loss, Trained, TrainingView, labels_loss
from harness.training.networks import Network, Output
from harness.training.stacking import Stacked
from harness.training.supervised import PREDICT_BATCH, Batch, TrainingRecipe, epoch_batches, steps_of_an_epoch
from harness.training.weight_watch import directions, turns

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["TrainingAtOnce", "fit_networks"]

PREFIX = "network."  # of the names of what :class:`_Outputs` holds

OptimizerFactory = Callable[[Network, Mapping[str, Tensor]], Optimizer]


class TrainingAtOnce:
    """
    Training of several seeds by epochs, as :class:`harness.training.supervised.Training` trains each of them: what it owns is owned for all.

    Args:
        optimizer: Over stacked parameters ``(S, ...)``; it has to treat each element, or each slice of the first axis, by itself.
        data: The view of each seed; training sets of one size.
        runs: The trial of each seed.

    Raises:
        ValueError: The training sets differ in size, or are smaller than one batch.
    """

    def __init__(self, optimizer: Stepper, data: Sequence[supervised.TrainingView[TrainingRecipe]], runs: Sequence[Run]) -> None:
        self.recipe, self.runs, device = data[0].recipe, runs, runs[0].device
        sets = [view.train.to(device) for view in data]
        if len({len(part) for part in sets}) > 1:
            raise ValueError(f"seeds that are trained at once need training sets of one size, got {[len(part) for part in sets]}")
        self._n = len(sets[0])
        self._epochs = runs[0].budget.require("epochs")
        self._steps = self._epochs * steps_of_an_epoch(self._n, self.recipe.batch_size)
        self._all_x, self._all_y = torch.cat([part.x for part in sets]), torch.cat([part.y for part in sets])
        self._starts = self._n * torch.arange(len(sets), device=device)[:, None]
        self._orders, self._draws = [run.torch_rng("batches") for run in runs], [run.torch_rng("augmentation") for run in runs]
        self._descent = Descent(optimizer, lambda step: self.recipe.rate(step, self._steps))

    def batches(self) -> Iterator[Batch]:
        """
        Yield batches whose tensors have the seeds in front: ``index`` and ``y`` ``(S, B)``, ``x`` ``(S, B, ...)``.

        Raises:
            TrialDiverged: The mean loss of an epoch is not finite for some seed.
        """
        size = self.recipe.batch_size
        for epoch in range(self._epochs):
            orders = (epoch_batches(self._n, size, order, run) for order, run in zip(self._orders, self.runs, strict=True))
            for index in zip(*orders, strict=True):
                place = torch.stack(index)
                rows = (self._starts + place).flatten()
                x = self.recipe.augment(self._all_x.index_select(0, rows), *self._draws)
                y = self._all_y.index_select(0, rows).view(place.shape)
                yield Batch(epoch, self._descent.done / self._steps, place, x.view(*place.shape, *x.shape[1:]), y)

            means = self._descent.noted()["train_loss"].mean(dim=0).tolist()
            if not all(math.isfinite(value) for value in means):
                raise TrialDiverged(f"the mean training losses are {means} in epoch {epoch}")
            for run, mean, figures in zip(self.runs, means, self.validate(), strict=True):
                run.log(epoch, train_loss=mean, **figures)

    def descend(self, losses: Tensor, passes: int = 1) -> None:
        """
        Take a step down the loss of each seed.

        Args:
            losses: ``(S,)``.
            passes: How many times the batch of a seed went forward in this step.
        """
        self._descent.backward(losses.sum())  # the gradient of a seed's parameters is that of its own loss
        self._descent.step()
        self._descent.note(train_loss=losses)
        for run in self.runs:
            run.count(forward=passes * self.recipe.batch_size, backward=self.recipe.batch_size)

    def validate(self) -> list[dict[str, float]]:
        """Return what the curves of each seed show behind an epoch; called once for each."""
        return [{} for _ in self.runs]


class _Watched(TrainingAtOnce):
    """As :class:`harness.training.fitting.WatchedTraining`."""

    def __init__(
        self, networks: Sequence[Network], stacked: Stacked, optimizer: Stepper, data: Sequence[TrainingView], runs: Sequence[Run]
    ) -> None:
        super().__init__(optimizer, data, runs)
        self._stacked = stacked
        self._valid_x, self._valid_y = (torch.stack([getattr(view.valid, name) for view in data]).to(runs[0].device) for name in ("x", "y"))
        self._hidden = [
            f"{PREFIX}stages.{name}.weight"
            for name, module in networks[0].stages.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
        ]
        self._pointing, self._turned = self._directions(), list[Tensor]()
        self.norms, self.effective, self.accuracies = [_norms(stacked, self._hidden, len(runs))], list[list[float]](), list[list[float]]()

    def descend(self, losses: Tensor, passes: int = 1) -> None:
        super().descend(losses, passes)
        before, self._pointing = self._pointing, self._directions()
        self._turned.append(turns(before, self._pointing) if before else torch.zeros(len(self.runs)))

    def validate(self) -> list[dict[str, float]]:
        self.norms.append(_norms(self._stacked, self._hidden, len(self.runs)))
        self.effective.append(torch.stack(self._turned).mean(dim=0).tolist())
        self._turned = []
        self.accuracies.append(_accuracies(self._stacked, self._valid_x, self._valid_y))

        return [
            {"valid_accuracy": accuracy, "weight_norm": norm, "effective_step": turned}
            for accuracy, norm, turned in zip(self.accuracies[-1], self.norms[-1], self.effective[-1], strict=True)
        ]

    def trained(self, networks: Sequence[Network]) -> list[Trained]:
        self._stacked.write_back()
        samples = np.arange(1, self._epochs + 1) * (self._steps // self._epochs) * self.recipe.batch_size

        return [
            Trained(
                network,
                samples=samples,
                valid_accuracy=np.array(self.accuracies)[:, s],
                weight_norms=np.array(self.norms)[:, s],
                effective_steps=np.array(self.effective)[:, s],
            )
            for s, network in enumerate(networks)
        ]

    def _directions(self) -> list[Tensor]:
        return directions([self._stacked.parameters[name].detach() for name in self._hidden], seeds=True)


def fit_networks(
    networks: Sequence[Network],
    build_optimizer: OptimizerFactory,
    data: Sequence[TrainingView],
    runs: Sequence[Run],
    loss: Loss = labels_loss,
    teachers: Sequence[Network] | None = None,
) -> list[Trained]:
    """
    Train the networks of several seeds as :func:`harness.training.fitting.fit_network` trains each of them, at once.

    Args:
        networks: One a seed, of one architecture; none may draw random numbers in its forward pass.
        build_optimizer: Builds the optimiser over parameters ``(S, ...)`` by name; it has to treat each element, or each slice of the first axis, by itself.
        data: The view of each seed; training sets of one size.
        runs: The trial of each seed.
        loss: A pure function of one network's output and batch.
        teachers: Of each seed.

    Raises:
        TrialDiverged: The mean loss of an epoch is not finite for some seed.
        ValueError: The training sets differ in size, or are smaller than one batch; or the seeds may stop early, each at another epoch.
    """
    if data[0].recipe.patience is not None:
        raise ValueError("seeds that stop early do so at different epochs, and are trained one by one")
    for network in networks:
        network.train()
    stacked = Stacked([_Outputs(network) for network in networks])
    stacked_teachers = None if teachers is None else Stacked([_Outputs(teacher) for teacher in teachers])
    optimizer = build_optimizer(networks[0], {name.removeprefix(PREFIX): value for name, value in stacked.parameters.items()})
    training = _Watched(networks, stacked, optimizer, data, runs)
    for batch in training.batches():
        taught = None if stacked_teachers is None else _all_outputs(stacked_teachers, batch.x)
        training.descend(_losses(stacked, loss, batch, taught), passes=1 if teachers is None else 2)

    return training.trained(networks)


class _Outputs(nn.Module):
    """A network whose forward pass gives all that :meth:`Network.outputs` does."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Output:
        return self.network.outputs(x)


@torch.no_grad()
def _all_outputs(stacked: Stacked, x: Tensor) -> Output:
    """Map ``(S, B, ...)`` to outputs with the same first axis."""
    output: Output = torch.vmap(stacked.call)(stacked.parameters, stacked.buffers, x)

    return output


def _losses(stacked: Stacked, loss: Loss, batch: Batch, taught: Output | None) -> Tensor:
    """Return the loss of each seed, ``(S,)``."""

    def one(
        parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], index: Tensor, x: Tensor, y: Tensor, taught: Output | None
    ) -> Tensor:
        return loss(stacked.call(parameters, buffers, x), Batch(batch.epoch, batch.progress, index, x, y, taught))

    values: Tensor = torch.vmap(one, in_dims=(0, 0, 0, 0, 0, None if taught is None else 0))(
        stacked.parameters, stacked.buffers, batch.index, batch.x, batch.y, taught
    )

    return values


def _norms(stacked: Stacked, names: Sequence[str], n_seeds: int) -> list[float]:
    weights = [stacked.parameters[name].detach() for name in names]
    if not weights:
        return [0.0] * n_seeds
    values: list[float] = torch.stack([torch.linalg.vector_norm(weight.flatten(1), dim=1) for weight in weights]).mean(dim=0).tolist()

    return values


def _accuracies(stacked: Stacked, x: Tensor, y: Tensor) -> list[float]:
    """Return each seed's accuracy on its own samples ``(S, n, ...)``."""
    stacked.train(False)
    predicted = torch.cat([_all_outputs(stacked, part).logits.argmax(dim=-1) for part in torch.split(x, PREDICT_BATCH, dim=1)], dim=1)
    stacked.train()
    values: list[float] = (predicted == y).double().mean(dim=1).tolist()

    return values
