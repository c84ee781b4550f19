"""Muon: the update of each hidden matrix is replaced by nearly the nearest orthogonal one, so that it moves all directions alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from harness import Search
from harness.training.fitting import build_network, fit_network
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.search_spaces import ADAM_RATE, DECOUPLED_DECAY

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Trained
    from harness.training.networks import Network
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["Muon", "MuonOptimizer", "Together", "hidden_matrices", "orthogonalised"]

A, B, C = 3.4445, -4.7750, 2.0315  # of the quintic; steep at 0, and within 0.7 and 1.2 from there on
ITERATIONS = 5
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.95), 1e-10  # of the released code, for what is no hidden matrix


def orthogonalised(update: Tensor) -> Tensor:
    """
    Return a matrix with the singular vectors of ``update`` and singular values near 1, mostly within 0.7 and 1.2, by five Newton-Schulz iterations.

    The scale of ``update`` has no say.

    Args:
        update: ``(r, c)``; what is computed keeps its type.
    """
    x = update / (update.norm() + 1e-7)
    if len(x) > x.shape[1]:
        return orthogonalised_rows(x.T).T

    return orthogonalised_rows(x)


def orthogonalised_rows(x: Tensor) -> Tensor:
    """Do so for a matrix of norm 1 that has no more rows than columns: the products are of the size of its rows."""
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = A * x + (B * gram + C * gram @ gram) @ x

    return x


class MuonOptimizer(torch.optim.Optimizer):
    """
    ``m <- momentum m + (1 - momentum) g``; ``w <- w (1 - rate * decay)``; ``w <- w - rate * sqrt(max(1, r / c)) * O`` with ``O`` the orthogonalised ``m``.

    A convolution's weight is orthogonalised as the matrix of its filters, while ``r / c`` are the sides of its kernel, as in the released code.

    Args:
        params: Of at least two axes.
        lr: Learning rate.
        momentum: In [0, 1).
        nesterov: Whether ``momentum m + (1 - momentum) g`` is orthogonalised, with the new ``m``.
        weight_decay: Decoupled, multiplied by the learning rate.
    """

    def __init__(
        self,
        params: Iterable[Any],  # Any: as torch has it
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # torch's takes a closure
        """Take one step."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
                factor = max(1.0, weight.shape[-2] / weight.shape[-1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(orthogonalised(update.flatten(1)).view_as(weight), alpha=group["lr"] * factor)


class Together:
    """
    Several optimisers as one.

    Args:
        optimizers: Each over parameters of its own.
    """

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers
        self.param_groups: list[dict[str, Any]] = [group for optimizer in optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        """Let each take a step."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()


def hidden_matrices(network: Network) -> list[Tensor]:
    """
    Return the weights of the linear and convolutional layers between the first one and the head.

    Raises:
        ValueError: There is none.
    """
    layers = [module for module in network.stages.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    if len(layers) < 2:
        raise ValueError(
            "Muon is defined for hidden matrices, and this network has no layer between its first and its head; use more 'widths'"
        )

    return [layer.weight for layer in layers[1:]]


@dataclass
class Muon:
    """
    Minimise the cross entropy by Muon on hidden matrices, and by AdamW with betas 0.9 and 0.95 on the first layer, the head, biases and normalisation.

    Args:
        learning_rate: Of the hidden matrices; base of the recipe's schedule.
        momentum: In [0, 1), of the hidden matrices; Nesterov's.
        weight_decay: Decoupled; not on biases and normalisation.
        adam_rate: The learning rate of all else.
    """

    learning_rate: Annotated[float, Gt(0), Search(0.005, 0.2, log=True)] = 0.02
    momentum: Annotated[float, Ge(0), Lt(1), Search(choices=(0.9, 0.95))] = 0.95
    weight_decay: Annotated[float, Ge(0), DECOUPLED_DECAY] = 0.0
    adam_rate: Annotated[float, Gt(0), ADAM_RATE] = 3e-4

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network."""
        network = build_network(data, run)

        return fit_network(network, self.optimizer(network), data, run)

    def optimizer(self, network: Network) -> Together:
        """Build both optimisers over a network's parameters."""
        hidden = hidden_matrices(network)
        known = set(hidden)
        others = {name: parameter for name, parameter in network.named_parameters() if parameter not in known}

        return Together(
            MuonOptimizer(hidden, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay),
            torch.optim.AdamW(
                parameter_groups(network, self.weight_decay, others), lr=self.adam_rate, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True
            ),
        )
