"""
Meta-Weight-Net (Shu et al., 2019).

A small network turns the loss of a sample into its weight, and learns to do so by asking: had I trained with these weights, would a small clean set be
classified better?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from harness import Search
from harness.training.seeding import build_seeded
from plugins.tasks.noisy_labels.loop import Training, build_network, sample_batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["MetaWeightNet", "WeightNet", "virtual_step"]


class WeightNet(nn.Module):
    """
    A map from the loss of a sample to its weight in (0, 1): one hidden layer of ReLUs, then a sigmoid.

    Args:
        hidden: Number of hidden units.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid())

    def forward(self, losses: Tensor) -> Tensor:
        """Map losses ``(B,)`` to weights ``(B,)``; no gradient flows to the losses."""
        return self.layers(losses.detach()[:, None]).squeeze(1)


def virtual_step(losses: Tensor, weights: Tensor, parameters: Mapping[str, Tensor], learning_rate: float) -> dict[str, Tensor]:
    """
    Return the parameters after one step of plain SGD on ``mean(weights * losses)`` (arXiv:1902.07379).

    The result is a differentiable function of ``weights``; the graph of ``losses`` is kept.

    Args:
        losses: ``(B,)``, functions of ``parameters``.
        weights: ``(B,)``.
        parameters: By name, as :func:`torch.func.functional_call` takes them.
        learning_rate: Step length.
    """
    gradients = torch.autograd.grad((weights * losses).mean(), list(parameters.values()), create_graph=True)

    return {name: value - learning_rate * gradient for (name, value), gradient in zip(parameters.items(), gradients, strict=True)}


@dataclass
class MetaWeightNet:
    """
    Train one network on weighted losses, and the weight net on clean samples through a virtual step of the network.

    Args:
        hidden: Units of the weight net.
        virtual_learning_rate: Of the virtual step, which is plain SGD whatever the recipe's optimiser.
        meta_learning_rate: Of the weight net's Adam.
        meta_weight_decay: Of the weight net's Adam.
        normalised: Whether the virtual step divides the weights by their mean, so that enlarging all of them gains nothing; not so in the authors' code.
    """

    hidden: Annotated[int, Ge(1)] = 100
    virtual_learning_rate: Annotated[float, Gt(0), Search(1e-2, 10.0, log=True)] = 0.1
    meta_learning_rate: Annotated[float, Gt(0), Search(1e-4, 1e-2, log=True)] = 1e-3
    meta_weight_decay: Annotated[float, Ge(0)] = 1e-4
    normalised: bool = False

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """
        Train both networks; the weight of a sample is what the weight net gave it in the last epoch.

        Raises:
            ValueError: There is no clean set.
        """
        if data.trusted is None:
            raise ValueError("meta_weight_net learns its weights from clean samples: declare the privilege 'clean_validation'")

        network = build_network(data, run)
        training = Training([network], data.recipe.build_optimizer(network), data, run)
        parameters = dict(network.named_parameters())
        weight_net = build_seeded(lambda: WeightNet(self.hidden), run.torch_rng("weight_net")).to(run.device)
        meta_optimizer = torch.optim.Adam(
            weight_net.parameters(), lr=self.meta_learning_rate, weight_decay=self.meta_weight_decay, fused=True
        )
        trusted = data.trusted.to(run.device)
        draws = run.torch_rng("meta")
        for batch in training.batches():
            clean = sample_batch(trusted, len(batch.y), draws, batch.epoch)
            losses = cross_entropy(network(batch.x), batch.y, reduction="none")
            ahead = weight_net(losses)
            if self.normalised:
                ahead = ahead / ahead.mean()
            virtual = virtual_step(losses, ahead, parameters, self.virtual_learning_rate)
            meta_loss = cross_entropy(functional_call(network, virtual, (clean.x,)), clean.y)
            meta_optimizer.zero_grad()
            meta_loss.backward(inputs=list(weight_net.parameters()), retain_graph=True)
            meta_optimizer.step()

            with torch.no_grad():
                weights = weight_net(losses)
            run.count(forward=2 * len(batch.y))
            training.trust(batch, weights)
            # The forward pass of the virtual step: the network has not changed since.
            training.descend((weights * losses).mean(), samples=4 * len(batch.y))

        return training.fitted()
