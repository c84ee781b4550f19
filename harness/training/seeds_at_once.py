"""
The seeds of a cell as one program: their parameters stacked, their batches side by side, the loss mapped over them.

A step of a small network costs its overhead, hardly its arithmetic; ten seeds at once pay the overhead once. Each seed has its own initial weights, order of
batches and augmentation, from the streams that it would have alone, so that the figures agree with those of seeds trained one by one up to the rounding of
sums in another order.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.optim import Optimizer

from harness.errors import TrialDiverged
from harness.training.fitting import Batch, Loss, Trained, TrainingView, epoch_batches, labels_loss, predict_logits, steps_of_an_epoch
from harness.training.networks import Network, Output
from harness.training.weight_watch import turns

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["StackedNetworks", "fit_networks"]

OptimizerFactory = Callable[[Network, Mapping[str, Tensor]], Optimizer]


class StackedNetworks:
    """
    Networks of one architecture, whose parameters and buffers are stacked along a first axis.

    Args:
        networks: In training mode; taken as the initial values.

    Attributes:
        parameters: ``(S, ...)`` by name, leaves that an optimiser may train.
        buffers: ``(S, ...)`` by name; those of a batch normalisation are updated in place.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = list(networks)
        self.parameters, self.buffers = stack_module_state(self.networks)
        self._skeleton = _Outputs(copy.deepcopy(networks[0]))
        self._hidden = [
            f"stages.{name}.weight" for name, module in networks[0].stages.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
        ]

    def outputs(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Output:
        """Map one network's batch to its output; to be called under :func:`torch.vmap`."""
        state = {f"network.{name}": value for name, value in {**parameters, **buffers}.items()}
        output: Output = functional_call(self._skeleton, state, (x,))

        return output

    def hidden_weights(self) -> list[Tensor]:
        """Return the weights of the linear and convolutional layers before the head, ``(S, ...)`` each, detached copies."""
        return [self.parameters[name].detach().clone() for name in self._hidden]

    @torch.no_grad()
    def write_back(self) -> list[Network]:
        """Copy the stacked values into the networks and return them."""
        for s, network in enumerate(self.networks):
            network.load_state_dict({name: value[s] for name, value in {**self.parameters, **self.buffers}.items()})

        return self.networks


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
    all_x, all_y = torch.stack([part.x for part in sets]), torch.stack([part.y for part in sets])
    seeds = torch.arange(len(sets), device=device)[:, None]
    orders, draws = [run.torch_rng("batches") for run in runs], [run.torch_rng("augmentation") for run in runs]
    for network in networks:
        network.train()
    stacked = StackedNetworks(networks)
    stacked_teachers = None if teachers is None else _Frozen(teachers)
    optimizer = build_optimizer(networks[0], stacked.parameters)
    schedule = recipe.build_schedule(optimizer, epochs * steps)
    weights = stacked.hidden_weights()
    norms, effective, accuracies = [_norms(weights, len(runs))], [], []
    for epoch in range(epochs):
        turned, losses = [], []
        indices = zip(*(epoch_batches(n, recipe.batch_size, order, run) for order, run in zip(orders, runs, strict=True)), strict=True)
        for step, index in enumerate(indices):
            place = torch.stack(index).to(device)
            x = recipe.augment(all_x[seeds, place].flatten(0, 1), *draws)
            x = x.view(*place.shape, *x.shape[1:])
            progress = (epoch * steps + step) / (epochs * steps)
            taught = None if stacked_teachers is None else stacked_teachers.outputs(x)
            values = _losses(stacked, loss, epoch, progress, place, x, all_y[seeds, place], taught)
            optimizer.zero_grad()
            values.sum().backward()  # type: ignore[no-untyped-call]  # the gradient of a seed's parameters is that of its own loss
            optimizer.step()
            schedule.step()
            for run in runs:
                run.count(forward=recipe.batch_size * (1 if teachers is None else 2), backward=recipe.batch_size)
            before, weights = weights, stacked.hidden_weights()
            turned.append(turns(before, weights, seeds=True) if weights else torch.zeros(len(runs)))
            losses.append(values.detach())

        mean_loss = torch.stack(losses).mean(dim=0).tolist()
        if not all(math.isfinite(value) for value in mean_loss):
            raise TrialDiverged(f"the mean training losses are {mean_loss} in epoch {epoch}")
        norms.append(_norms(weights, len(runs)))
        effective.append(torch.stack(turned).mean(dim=0).tolist())
        trained = stacked.write_back()
        accuracies.append([_accuracy(network, view) for network, view in zip(trained, data, strict=True)])
        for s, run in enumerate(runs):
            run.log(
                epoch,
                train_loss=mean_loss[s],
                valid_accuracy=accuracies[-1][s],
                weight_norm=norms[-1][s],
                effective_step=effective[-1][s],
            )

    return [
        Trained(
            network,
            samples=np.arange(1, epochs + 1) * steps * recipe.batch_size,
            valid_accuracy=np.array(accuracies)[:, s],
            weight_norms=np.array(norms)[:, s],
            effective_steps=np.array(effective)[:, s],
        )
        for s, network in enumerate(stacked.write_back())
    ]


class _Outputs(nn.Module):
    """A network whose forward pass gives all that :meth:`Network.outputs` does."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Output:
        return self.network.outputs(x)


class _Frozen:
    """Teachers at once."""

    def __init__(self, teachers: Sequence[Network]) -> None:
        self._stacked = StackedNetworks(teachers)

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Output:
        """Map ``(S, B, ...)`` to outputs with the same first axis."""
        output: Output = torch.vmap(self._stacked.outputs)(self._stacked.parameters, self._stacked.buffers, x)

        return output


def _losses(
    stacked: StackedNetworks, loss: Loss, epoch: int, progress: float, index: Tensor, x: Tensor, y: Tensor, taught: Output | None
) -> Tensor:
    """Return the loss of each seed, ``(S,)``."""

    def one(
        parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], index: Tensor, x: Tensor, y: Tensor, taught: Output | None
    ) -> Tensor:
        return loss(stacked.outputs(parameters, buffers, x), Batch(epoch, progress, index, x, y, taught))

    values: Tensor = torch.vmap(one, in_dims=(0, 0, 0, 0, 0, None if taught is None else 0))(
        stacked.parameters, stacked.buffers, index, x, y, taught
    )

    return values


def _norms(weights: Sequence[Tensor], n_seeds: int) -> list[float]:
    if not weights:
        return [0.0] * n_seeds
    values: list[float] = torch.stack([torch.linalg.vector_norm(weight.flatten(1), dim=1) for weight in weights]).mean(dim=0).tolist()

    return values


def _accuracy(network: Network, view: TrainingView) -> float:
    return float((predict_logits(network, view.valid.x).argmax(dim=1) == view.valid.y.cpu()).double().mean())
