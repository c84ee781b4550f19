"""The recipe that the methods of a suite share: model, optimiser, batch size. A comparison of methods is not a comparison of recipes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn

from harness.specs import Search
from harness.training.augmentation import Augmentation, augment
from harness.training.networks import resnet
from harness.training.schedules import Schedule, rate_factor
from harness.training.seeding import build_seeded
from plugins.tasks.noisy_labels.fresh_adam import FreshAdam

__all__ = [
    "Recipe",
]


@dataclass
class Recipe:
    """
    How a network is built and trained, apart from the method.

    Args:
        model: ``linear`` (softmax regression), ``mlp`` (one hidden layer), ``cnn`` (two convolutions, for square grey or colour pictures) or ``resnet``
            (CIFAR's, of ``depth`` 6 n + 2).
        hidden: Units of the MLP's hidden layer, or of the CNN's last hidden layer.
        depth: See ``model``.
        widths: Channels of the three groups of ``resnet``.
        dropout: Rate; on the hidden layer for ``mlp`` and ``cnn``. The other models have none in their ordinary forward pass.
        optimizer: ``adam``, ``sgd``, or ``fresh_adam``, whose every step is Adam's first (close to sign descent; see :class:`FreshAdam`).
        learning_rate: At its highest.
        schedule: Of the learning rate (:mod:`harness.training.schedules`).
        momentum: Of ``sgd``.
        weight_decay: L2, as the optimiser of torch applies it.
        augmentation: Of training batches of pictures (:mod:`harness.training.augmentation`).
        batch_size: Samples per step; the last, incomplete batch of an epoch is dropped, so that every step has the same size.
        select_by: The validation score that chooses the best epoch: accuracy, or the F1 of class 1.
    """

    model: Literal["linear", "mlp", "cnn", "resnet"] = "mlp"
    hidden: Annotated[int, Ge(1)] = 128
    depth: Annotated[int, Ge(8)] = 8
    widths: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (8, 16, 32)
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    optimizer: Literal["adam", "sgd", "fresh_adam"] = "adam"
    learning_rate: Annotated[float, Gt(0), Search(1e-4, 1e-1, log=True)] = 1e-2
    schedule: Schedule = "constant"
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    weight_decay: Annotated[float, Ge(0), Search(choices=(0.0, 1e-4, 1e-3, 1e-2, 1e-1))] = 0.0
    augmentation: Augmentation = "none"
    batch_size: Annotated[int, Ge(2)] = 32
    select_by: Literal["accuracy", "f1"] = "accuracy"

    def build_model(self, sample_shape: torch.Size, n_classes: int, generator: torch.Generator, device: str) -> nn.Sequential:
        """
        Build the network with weights drawn from ``generator``; its last layer is the linear classifier, which gives logits.

        Args:
            sample_shape: Shape of one sample; flattened for ``linear`` and ``mlp``, ``(channels, height, width)`` for ``cnn`` and ``resnet``.
            n_classes: Number of outputs.
            generator: Decides the initial weights alone.
            device: Where the network ends.
        """
        return build_seeded(lambda: self._layers(sample_shape, n_classes), generator).to(device)

    def build_optimizer(self, *networks: nn.Module) -> torch.optim.Optimizer:
        """Build the optimiser of the recipe over the parameters of one network or several."""
        return self.optimizer_over([parameter for network in networks for parameter in network.parameters()])

    def optimizer_over(self, parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        """Build the optimiser of the recipe, which treats each element by itself, over any parameters."""
        if self.optimizer == "adam":
            # fused: one kernel a step. On a CPU, a trial of an MLP takes three quarters of the time of torch's default (740 steps: 0.125 s, not 0.168 s).
            return torch.optim.Adam(parameters, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)

        return FreshAdam(parameters, lr=self.learning_rate)

    def rate(self, step: int, steps: int) -> float:
        """Return what the learning rate is multiplied with where ``step`` of ``steps`` steps are done."""
        return rate_factor(min(step / steps, 1.0), self.schedule, 0.0)

    def augment(self, x: torch.Tensor, *generators: torch.Generator) -> torch.Tensor:
        """Return the batch as it is trained on; with several generators, the batches of as many seeds one after the other."""
        return augment(x, self.augmentation, *generators)

    def autocast(self, device: str) -> AbstractContextManager[None]:
        """Return the context of the forward pass: float32."""
        return nullcontext()

    def _layers(self, sample_shape: torch.Size, n_classes: int) -> nn.Sequential:
        features = sample_shape.numel()
        if self.model == "linear":
            return nn.Sequential(nn.Flatten(), nn.Linear(features, n_classes))
        if self.model == "mlp":
            return nn.Sequential(
                nn.Flatten(),
                nn.Linear(features, self.hidden),
                nn.ReLU(),
                nn.Dropout(self.dropout),
                nn.Linear(self.hidden, n_classes),
            )
        if self.model == "resnet":
            network = resnet(sample_shape, n_classes, self.depth, self.widths)
            return nn.Sequential(*network.stages, network.flatten, network.head)

        if len(sample_shape) != 3:
            raise ValueError(f"model 'cnn' needs samples of shape (channels, height, width), got {tuple(sample_shape)}")
        channels, height, width = sample_shape

        return nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * (height // 4) * (width // 4), self.hidden),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.hidden, n_classes),
        )
