"""Sharpness-aware minimisation: the gradient is taken at the worst point of a small ball round the weights, so that sharp minima are left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from harness import Search
from harness.training.fitting import WatchedTraining, build_network
from harness.training.normalisation import frozen_statistics
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.baselines.sgd import SGD

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Trained
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["SAM", "ascent", "perturbed"]

TINY = 1e-12  # beside the norm, as in the released code


def ascent(gradients: Sequence[Tensor], rho: float) -> list[Tensor]:
    """
    Return ``rho g / (|g| + 1e-12)``, the steepest way up of length rho, with one norm over all tensors.

    Args:
        gradients: Of the loss at the weights, any shapes.
        rho: Radius of the ball; at least 0.
    """
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))

    return [rho / (norm + TINY) * gradient for gradient in gradients]


@contextmanager
def perturbed(weights: Sequence[Tensor], perturbation: Sequence[Tensor]) -> Iterator[None]:
    """Move the weights by the perturbation, in place, within the block; behind it they are bit for bit what they were."""
    with torch.no_grad():
        kept = [weight.clone() for weight in weights]
        for weight, part in zip(weights, perturbation, strict=True):
            weight.add_(part)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, kept, strict=True):
                weight.copy_(value)


@dataclass
class SAM(SGD):
    """
    SGD whose gradient is that at ``w + rho g / |g|`` (arXiv:2010.01412, equation (2)); two passes a step, on the same batch.

    Args:
        learning_rate: As in SGD.
        momentum: As in SGD.
        nesterov: As in SGD.
        weight_decay: As in SGD: of ``w``, and without a say in the perturbation.
        rho: Radius of the ball; 0 is SGD.
    """

    rho: Annotated[float, Ge(0), Search(0.01, 0.5, log=True)] = 0.05

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network; the curves show the loss at the weights, and batch normalisation remembers the pass there alone."""
        network = build_network(data, run)
        weights = list(network.parameters())
        training = WatchedTraining(network, self.optimizer(parameter_groups(network, self.weight_decay)), data, run)
        for batch in training.batches():
            loss = self.loss(training.outputs(batch.x), batch)
            gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
            run.count(backward=len(batch.x))
            with perturbed(weights, ascent(gradients, self.rho)), frozen_statistics(network):
                training.backward(self.loss(training.outputs(batch.x), batch))
            training.step(train_loss=loss)

        return training.trained()
