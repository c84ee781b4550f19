"""Synaptic intelligence (Zenke et al. 2017, arXiv:1703.04200): a weight matters by what its way through training has brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.class_incremental.baselines.ewc import anchored, widened
from plugins.tasks.class_incremental.training import Training, next_network, score

if TYPE_CHECKING:
    from harness import Run
    from harness.training.networks import Network
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["SI", "importance_of_path"]


def importance_of_path(path: Tensor, way: Tensor, damping: float) -> Tensor:
    """
    Return how much a weight matters, not below 0: ``path / (way^2 + damping)``.

    Args:
        path: ``- sum_steps gradient * change``, the gradient that of the task's loss alone, before the step.
        way: How far the weight has come, all steps together.
        damping: Above 0.
    """
    return (path / (way.square() + damping)).clamp(min=0)


@dataclass
class SI:
    """
    Minimise ``CE + c sum_i Omega_i (theta_i - anchor_i)^2`` on new samples.

    Args:
        weight: c, of the penalty; 0 is ``finetune``.
        damping: Of :func:`importance_of_path`.
    """

    weight: Annotated[float, Ge(0), Search(1e-2, 1e2, log=True)] = 1.0
    damping: Annotated[float, Gt(0)] = 0.1

    def __post_init__(self) -> None:
        self._network: Network | None = None
        self._importance: dict[str, Tensor] = {}

    def learn(self, experience: Experience, run: Run) -> None:
        """Train under the penalty, and follow the way of each weight."""
        self._network = network = next_network(self._network, experience, run)
        parameters = dict(network.named_parameters())
        anchor = {name: value.detach().clone() for name, value in parameters.items()}
        importance = widened(self._importance, parameters)
        path = {name: torch.zeros_like(value) for name, value in anchor.items()}
        training = Training(network, experience.train, experience, run)
        for batch in training.batches():
            loss = cross_entropy(training.outputs(batch.x).logits, batch.y)
            training.backward(loss)
            gradients = {name: value.grad.clone() for name, value in parameters.items() if value.grad is not None}
            before = {name: value.detach().clone() for name, value in parameters.items()}
            if importance and self.weight > 0:
                training.backward(self.weight * anchored(parameters, importance, anchor))
            training.step(loss)
            for name, gradient in gradients.items():
                path[name] -= gradient * (parameters[name].detach() - before[name])
        self._importance = {
            name: importance_of_path(path[name], value.detach() - anchor[name], self.damping) + importance.get(name, 0)
            for name, value in parameters.items()
        }

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the logits."""
        return score(self._network, x)
