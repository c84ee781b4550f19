"""
The seeds of a cell as one program: their parameters stacked, their batches side by side, the loss mapped over them.

A step of a small network costs its overhead, hardly its arithmetic; ten seeds at once pay the overhead once. Each seed has its own initial weights, order of
batches and augmentation, from the streams that it would have alone, so that the figures agree with those of seeds trained one by one up to the rounding of
sums in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.errors import TrialDiverged
from harness.training.fitting import PREDICT_BATCH, Batch, Loss, Trained, TrainingView, epoch_batches, labels_loss, steps_of_an_epoch
from harness.training.networks import Network, Output
from harness.training.stacking import Stacked
from harness.training.weight_watch import directions, turns

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["fit_networks"]

PREFIX = "network."  # of the names of what :class:`_Outputs` holds

OptimizerFactory = Callable[[Network, Mapping[str, Tensor]], Optimizer]


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
        ValueError: The training sets differ in size, or are smaller than one batch.
    """
    recipe, epochs, device = data[0].recipe, runs[0].budget.require("epochs"), runs[0].device
    sets = [view.train.to(device) for view in data]
    if len({len(part) for part in sets}) > 1:
        raise ValueError(f"seeds that are trained at once need training sets of one size, got {[len(part) for part in sets]}")
    n, steps = len(sets[0]), steps_of_an_epoch(len(sets[0]), recipe.batch_size)
    all_x, all_y = torch.cat([part.x for part in sets]), torch.cat([part.y for part in sets])
    starts = n * torch.arange(len(sets))[:, None]
    valid_x, valid_y = (torch.stack([getattr(view.valid, name) for view in data]).to(device) for name in ("x", "y"))
    orders, draws = [run.torch_rng("batches") for run in runs], [run.torch_rng("augmentation") for run in runs]
    for network in networks:
        network.train()
    stacked = Stacked([_Outputs(network) for network in networks])
    stacked_teachers = None if teachers is None else Stacked([_Outputs(teacher) for teacher in teachers])
    optimizer = build_optimizer(networks[0], {name.removeprefix(PREFIX): value for name, value in stacked.parameters.items()})
    hidden = [
        f"{PREFIX}stages.{name}.weight" for name, module in networks[0].stages.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    schedule = recipe.build_schedule(optimizer, epochs * steps)
    pointing = directions([stacked.parameters[name].detach() for name in hidden], seeds=True)
    norms, effective, accuracies = [_norms(stacked, hidden, len(runs))], [], []
    for epoch in range(epochs):
        turned, losses = [], []
        indices = zip(*(epoch_batches(n, recipe.batch_size, order, run) for order, run in zip(orders, runs, strict=True)), strict=True)
        for step, index in enumerate(indices):
            place = torch.stack(index)
            rows = (starts + place).flatten().to(device)
            x = recipe.augment(all_x.index_select(0, rows), *draws)
            x, y, place = x.view(*place.shape, *x.shape[1:]), all_y.index_select(0, rows).view(place.shape), place.to(device)
            progress = (epoch * steps + step) / (epochs * steps)
            taught = None if stacked_teachers is None else _all_outputs(stacked_teachers, x)
            values = _losses(stacked, loss, epoch, progress, place, x, y, taught)
            optimizer.zero_grad()
            values.sum().backward()  # type: ignore[no-untyped-call]  # the gradient of a seed's parameters is that of its own loss
            optimizer.step()
            schedule.step()
            for run in runs:
                run.count(forward=recipe.batch_size * (1 if teachers is None else 2), backward=recipe.batch_size)
            before, pointing = pointing, directions([stacked.parameters[name].detach() for name in hidden], seeds=True)
            turned.append(turns(before, pointing) if pointing else torch.zeros(len(runs)))
            losses.append(values.detach())

        mean_loss = torch.stack(losses).mean(dim=0).tolist()
        if not all(math.isfinite(value) for value in mean_loss):
            raise TrialDiverged(f"the mean training losses are {mean_loss} in epoch {epoch}")
        norms.append(_norms(stacked, hidden, len(runs)))
        effective.append(torch.stack(turned).mean(dim=0).tolist())
        accuracies.append(_accuracies(stacked, valid_x, valid_y))
        for s, run in enumerate(runs):
            run.log(
                epoch,
                train_loss=mean_loss[s],
                valid_accuracy=accuracies[-1][s],
                weight_norm=norms[-1][s],
                effective_step=effective[-1][s],
            )

    stacked.write_back()

    return [
        Trained(
            network,
            samples=np.arange(1, epochs + 1) * steps * recipe.batch_size,
            valid_accuracy=np.array(accuracies)[:, s],
            weight_norms=np.array(norms)[:, s],
            effective_steps=np.array(effective)[:, s],
        )
        for s, network in enumerate(networks)
    ]


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


def _losses(
    stacked: Stacked, loss: Loss, epoch: int, progress: float, index: Tensor, x: Tensor, y: Tensor, taught: Output | None
) -> Tensor:
    """Return the loss of each seed, ``(S,)``."""

    def one(
        parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], index: Tensor, x: Tensor, y: Tensor, taught: Output | None
    ) -> Tensor:
        return loss(stacked.call(parameters, buffers, x), Batch(epoch, progress, index, x, y, taught))

    values: Tensor = torch.vmap(one, in_dims=(0, 0, 0, 0, 0, None if taught is None else 0))(
        stacked.parameters, stacked.buffers, index, x, y, taught
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
