"""Training with companded weights (Cakaj, Mehnert and Yang 2023, arXiv:2306.16993); the functions are in :mod:`plugins.weight_compander.compander`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness import Search
from harness.training.fitting import build_network, fit_network
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.baselines.sgd import SGD
from plugins.tasks.supervised.baselines.weight_normalisation import normalise_weights
from plugins.weight_compander.compander import Compander, Form, compand_layers

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["WeightCompander"]


@dataclass
class WeightCompander(SGD):
    """
    SGD on free parameters v; the weights of all linear and convolutional layers are ``a arctan(v / b)``, with one a and b a layer.

    Args:
        learning_rate: As in SGD.
        momentum: As in SGD.
        nesterov: As in SGD.
        weight_decay: On v, where an optimiser finds it; not on a and b.
        form: The function; ``identity`` is SGD.
        A: a, in standard deviations of the layer's initial weights.
        B: b, likewise. ``A / B`` is the slope at 0.
        learn: Whether log a and log b are trained, with ``scale_rate`` times the learning rate.
        scale_rate: Their gradients are sums over all weights of a layer, so that the rate of the weights would make them diverge.
        init: Whether v starts as the conventional initial weights (``direct``), or the effective weights do (``inverse``).
        dropout: Rate, for the combination with it.
        label_smoothing: Mass that is spread over all classes, for the combination with it.
        weight_normalisation: Whether v is a length times a direction, for the combination with it.
    """

    form: Form = "atan"
    A: Annotated[float, Gt(0), Search(0.5, 4.0, log=True)] = 1.0
    B: Annotated[float, Gt(0), Search(0.25, 4.0, log=True)] = 1.0
    learn: bool = False
    scale_rate: Annotated[float, Gt(0)] = 0.01
    init: Literal["direct", "inverse"] = "direct"
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    weight_normalisation: bool = False

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network with companded weights."""
        network = build_network(data, run, dropout=self.dropout)
        if self.weight_normalisation:
            normalise_weights(network)
        layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
        companders = compand_layers(layers, self.A, self.B, self.form, self.learn, inverse=self.init == "inverse")

        return fit_network(network, self.optimizer(self._groups(network, companders)), data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        return cross_entropy(output.logits, batch.y, label_smoothing=self.label_smoothing)

    def _groups(self, network: nn.Module, companders: list[Compander]) -> list[dict[str, Any]]:  # Any: as torch types groups
        """Set log a and log b apart from the other parameters."""
        if not self.learn:
            return parameter_groups(network, self.weight_decay)
        scales = {parameter for compander in companders for parameter in compander.parameters()}
        others = {name: parameter for name, parameter in network.named_parameters() if parameter not in scales}

        return [
            *parameter_groups(network, self.weight_decay, others),
            {"params": list(scales), "lr": self.scale_rate * self.learning_rate, "weight_decay": 0.0},
        ]
