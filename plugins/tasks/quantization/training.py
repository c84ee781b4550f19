"""What the methods of this task work with: a copy of the pretrained network with quantisers in its places, and training that watches oscillations."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from harness.training.supervised import Batch, Training
from plugins.tasks.quantization.grids import ActivationQuantizer, WeightQuantizer
from plugins.tasks.quantization.learned_step import LsqActivation, LsqWeight
from plugins.tasks.quantization.oscillation import Oscillations
from plugins.tasks.quantization.transformer import Layer, Place, VisionTransformer, layers_of

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.quantization.protocol import QuantizationView

__all__ = [
    "EDGE_BITS",
    "ActivationFactory",
    "QuantizationTraining",
    "WeightFactory",
    "build_optimizer",
    "lsq_activation",
    "pretrained_copy",
    "quantize",
    "quantized_copy",
    "train",
]

EDGE_BITS = 8  # of the first and the last layer, whatever the others have: common practice

WeightFactory = Callable[[Tensor, int], WeightQuantizer]
"""Maps a weight ``(out, in)`` and the bits to its quantiser."""

ActivationFactory = Callable[[Place, int], ActivationQuantizer]
"""Maps a place and the bits to the quantiser that takes it."""


def lsq_activation(place: Place, bits: int) -> ActivationQuantizer:
    """Build the learned quantiser of a place."""
    return LsqActivation(bits, place.scales, place.channels, place.signed)


def pretrained_copy(data: QuantizationView) -> VisionTransformer:
    """Return the pretrained network, to be trained."""
    return copy.deepcopy(data.pretrained).requires_grad_(True)


def quantized_copy(
    data: QuantizationView, weight: WeightFactory = LsqWeight, activation: ActivationFactory = lsq_activation
) -> VisionTransformer:
    """Return the pretrained network with quantisers in all places (:func:`quantize`)."""
    network = pretrained_copy(data)
    quantize(network, data, weight, activation)

    return network


def quantize(
    network: VisionTransformer,
    data: QuantizationView,
    weight: WeightFactory = LsqWeight,
    activation: ActivationFactory = lsq_activation,
    edge_weight: WeightFactory = LsqWeight,
    edge_activation: ActivationFactory = lsq_activation,
) -> None:
    """
    Put quantisers into all places: of the view's bits, of 8 in the first and the last layer; activations are left alone where the view says so.

    Those of activations are started on the calibration samples, weights being quantised already.

    Args:
        network: Changed in place.
        data: The view.
        weight: Of weights.
        activation: Of activations.
        edge_weight: Of the weights of the first and the last layer.
        edge_activation: Of their inputs.
    """
    for layer in layers_of(network).values():
        factory, bits = (edge_weight, EDGE_BITS) if layer.edge else (weight, data.weight_bits)
        layer.quantizer = factory(layer.latent().detach(), bits)
    if data.activation_bits is not None:
        for module in list(network.modules()):
            for name, place in list(module.named_children()):
                if isinstance(place, Place):
                    chosen, bits = (edge_activation, EDGE_BITS) if place.edge else (activation, data.activation_bits)
                    setattr(module, name, chosen(place, bits).to(data.calibration.device))
        with torch.no_grad():
            network(data.calibration)


def build_optimizer(network: nn.Module, learning_rate: float, weight_decay: float) -> AdamW:
    """Build AdamW, whose decay acts on the latent weights of layers alone."""
    decayed = [parameter for layer in layers_of(network).values() for parameter in layer.latent_parameters()]
    known = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in network.parameters() if id(parameter) not in known]

    return AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=learning_rate,
        fused=True,  # a hundred small tensors: in one loop, half of a step's time would be theirs
    )


class QuantizationTraining(Training):
    """
    Training by epochs (:class:`harness.training.supervised.Training`) that watches the levels of all weights but those of the first and the last layer:
    curves ``oscillation``, oscillations a weight and step, and ``oscillating``, the share of weights that oscillate, beside ``train_loss`` and
    ``valid_accuracy``.

    Args:
        network: Trained in place; quantised, or in full precision.
        data: The view.
        run: The trial.

    Attributes:
        optimizer: AdamW; what is to happen between its step and the look at the levels is a hook of it (``register_step_post_hook``).
        layers: Those that are watched.
        oscillations: Of their weights, one vector.
    """

    def __init__(self, network: VisionTransformer, data: QuantizationView, run: Run) -> None:
        recipe = data.recipe
        self.optimizer = build_optimizer(network, recipe.learning_rate, recipe.weight_decay)
        super().__init__(network, self.optimizer, data, run)
        self._teacher, self._distillation = data.pretrained, recipe.distillation
        self.layers: list[Layer] = [layer for layer in layers_of(network, edges=False).values() if layer.is_quantized]
        self.oscillations = Oscillations(self.levels())

    def levels(self) -> Tensor:
        """Return the levels of all weights that are watched, one vector, layer by layer."""
        return torch.cat([torch.zeros(0, device=self.run.device), *(layer.grid().levels.flatten() for layer in self.layers)])

    def loss(self, batch: Batch) -> Tensor:
        """Return the cross entropy of the labels and, by its weight, that of the teacher's probabilities, both at temperature 1."""
        logits = self.logits(batch.x)
        loss = cross_entropy(logits, batch.y)
        if self._distillation == 0:
            return loss
        with torch.no_grad():
            said = self.logits(batch.x, self._teacher).softmax(dim=1)

        return loss + self._distillation * cross_entropy(logits, said)

    def step(self, **figures: Tensor) -> None:
        """Let the optimiser step, and look which levels that changed."""
        super().step(**figures)
        if self.layers:
            self.oscillations.update(self.levels())

    def validate(self) -> dict[str, float]:
        """Return the validation accuracy, and what has oscillated in the epoch."""
        figures = super().validate()
        if not self.layers:
            return figures

        return {**figures, "oscillation": self.oscillations.rate(), "oscillating": self.oscillations.share()}


def train(network: VisionTransformer, data: QuantizationView, run: Run) -> VisionTransformer:
    """Train for ``run.budget.epochs`` epochs on the task's loss, and return the network: all that a method needs whose point is its quantisers."""
    training = QuantizationTraining(network, data, run)
    for batch in training.batches():
        training.descend(training.loss(batch))

    return network
