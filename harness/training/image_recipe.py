"""The recipe that the methods of a suite of picture classifiers share: network, batches, schedule, augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt, MinLen
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from harness.training.augmentation import Augmentation, augment
from harness.training.networks import Activation, Network, cnn, mlp, resnet, timm_network, wide_resnet
from harness.training.schedules import Schedule, build_schedule, rate_factor
from harness.training.seeding import build_seeded

__all__ = ["ImageRecipe"]


@dataclass
class ImageRecipe:
    """
    How a classifier is built and trained, apart from the method.

    Args:
        model: ``mlp`` (``widths`` are its hidden layers), ``cnn`` (``widths`` are the channels of its 3x3 convolutions), ``resnet`` (CIFAR's, ``depth``
            6 n + 2, ``widths`` of its three groups), ``wide_resnet`` (``depth`` 6 n + 4, ``factor``), or ``timm`` (``timm_model``).
        widths: See ``model``.
        depth: See ``model``.
        factor: See ``model``.
        timm_model: See ``model``.
        activation: Of ``mlp``, ``cnn`` and ``wide_resnet``.
        norm_momentum: What the batch normalisation of ``wide_resnet`` takes over of each batch.
        normalised: Whether ``cnn`` has batch normalisation.
        pooling: Whether max pooling halves the sides between the convolutions of ``cnn``.
        pooled: Rows and columns of fields that ``cnn`` averages over before its head.
        initialisation: ``default`` is torch's; ``kaiming_normal`` draws the weights of all layers of at least two dimensions from a normal distribution of
            variance 2 / fan-in and sets biases to 0 (He et al. 2015, arXiv:1502.01852).
        batch_size: Samples a step.
        schedule: Of the learning rate (:mod:`harness.training.schedules`).
        warmup: Share of the steps in which the rate rises from 0.
        augmentation: Of training batches (:mod:`harness.training.augmentation`).
        precision: Of the forward pass; ``bfloat16`` is mixed precision.
    """

    model: Literal["mlp", "cnn", "resnet", "wide_resnet", "timm"] = "cnn"
    widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (16, 32, 32)
    depth: Annotated[int, Ge(8)] = 20
    factor: Annotated[int, Ge(1)] = 2
    timm_model: str = "resnet18"
    activation: Activation = "relu"
    norm_momentum: Annotated[float, Gt(0), Le(1)] = 0.1
    normalised: bool = True
    pooling: bool = True
    pooled: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (1, 1)
    initialisation: Literal["default", "kaiming_normal"] = "default"
    batch_size: Annotated[int, Ge(2)] = 50
    schedule: Schedule = "cosine"
    warmup: Annotated[float, Ge(0), Lt(1)] = 0.0
    augmentation: Augmentation = "none"
    precision: Literal["float32", "bfloat16"] = "float32"

    def build_network(
        self,
        sample_shape: torch.Size,
        n_classes: int,
        generator: torch.Generator,
        device: str,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
    ) -> Network:
        """
        Build the network with weights drawn from ``generator`` alone.

        Args:
            sample_shape: Shape of one sample.
            n_classes: Number of outputs.
            generator: Decides the initial weights.
            device: Where the network ends.
            dropout: Rate behind the hidden layers of ``mlp`` and before the head of ``cnn``, for methods that regularise so.

        Raises:
            ValueError: The network cannot take samples of this shape, or has no place for dropout.
        """
        if dropout > 0 and self.model not in ("mlp", "cnn"):
            raise ValueError(f"dropout is defined for the models 'mlp' and 'cnn', not for '{self.model}'")

        def build() -> Network:
            network = self._untrained(sample_shape, n_classes, dropout)
            if self.initialisation == "kaiming_normal":
                _initialise_kaiming(network)

            return network

        return build_seeded(build, generator).to(device)

    def rate(self, step: int, steps: int) -> float:
        """Return what the learning rate is multiplied with where ``step`` of ``steps`` steps are done."""
        return rate_factor(min(step / steps, 1.0), self.schedule, self.warmup)

    def build_schedule(self, optimizer: Optimizer, total_steps: int) -> LambdaLR:
        """Build the schedule as torch has it. Deprecated: :class:`harness.training.descent.Descent` over :meth:`rate` takes its place."""
        return build_schedule(optimizer, total_steps, self.schedule, self.warmup)

    def augment(self, x: Tensor, *generators: torch.Generator) -> Tensor:
        """Return the batch as it is trained on; with several generators, the batches of as many seeds one after the other."""
        return augment(x, self.augmentation, *generators)

    def autocast(self, device: str) -> torch.autocast:
        """Return the context of the forward pass."""
        return torch.autocast(device, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")

    def _untrained(self, sample_shape: torch.Size, n_classes: int, dropout: float) -> Network:
        if self.model == "mlp":
            return mlp(sample_shape, n_classes, self.widths, self.activation, dropout)
        if self.model == "cnn":
            return cnn(sample_shape, n_classes, self.widths, self.activation, self.normalised, self.pooling, self.pooled, dropout)
        if self.model == "resnet":
            return resnet(sample_shape, n_classes, self.depth, self.widths)
        if self.model == "wide_resnet":
            return wide_resnet(sample_shape, n_classes, self.depth, self.factor, self.activation, self.norm_momentum)

        return timm_network(sample_shape, n_classes, self.timm_model)


def _initialise_kaiming(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
