"""
AGRA, adaptive gradient-based outlier removal (Sedova et al., 2023).

A sample is left out of a step when its gradient points against the mean gradient of a second batch: learning it would undo what the others teach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from plugins.tasks.noisy_labels.loop import Training, build_network, sample_batch

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["AGRA", "gradient_similarity", "mean_classifier_gradient"]

EPSILON = 1e-8  # of the authors' code


def mean_classifier_gradient(features: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """
    Return the gradient of the mean cross entropy with respect to the weight of the last, linear layer, ``(C, D)``.

    Args:
        features: ``(B, D)``, what goes into the last layer.
        logits: ``(B, C)``, what comes out of it.
        target: ``(B,)``, class indices.
    """
    return _logit_gradient(logits, target).T @ features / len(features)


def gradient_similarity(features: Tensor, logits: Tensor, target: Tensor, direction: Tensor) -> Tensor:
    """
    Return the cosine between each sample's gradient of the last layer's weight and ``direction``, ``(B,)``, in [-1, 1].

    The gradient of one sample is the outer product of ``p - onehot(y)`` and its features, so that its norm and its product with a matrix factorise and it
    is never formed. Biases are left out.

    Args:
        features: ``(B, D)``.
        logits: ``(B, C)``.
        target: ``(B,)``, class indices.
        direction: ``(C, D)``.
    """
    d = _logit_gradient(logits, target)
    product = ((d @ direction) * features).sum(dim=1)

    return product / (d.norm(dim=1) * features.norm(dim=1) * direction.norm() + EPSILON)


def _logit_gradient(logits: Tensor, target: Tensor) -> Tensor:
    return logits.softmax(dim=1) - one_hot(target, logits.shape[1])


@dataclass
class AGRA:
    """Train with cross entropy on the samples of each batch whose gradient does not oppose that of a comparison batch from the same noisy set."""

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train one network; the weight of a sample is 1 where it was kept in the last epoch, else 0."""
        network = build_network(data, run)
        body, classifier = network[:-1], network[-1]
        training = Training([network], data.recipe.build_optimizer(network), data, run)
        train = data.train.to(run.device)
        draws = run.torch_rng("comparison")
        for batch in training.batches():
            other = sample_batch(train, len(batch.y), draws, batch.epoch)
            features = body(batch.x)
            logits = classifier(features)
            with torch.no_grad():
                other_features = body(other.x)
                direction = mean_classifier_gradient(other_features, classifier(other_features), other.y)
                kept = (gradient_similarity(features, logits, batch.y, direction) >= 0).to(logits.dtype)

            losses = cross_entropy(logits, batch.y, reduction="none")
            run.count(forward=2 * len(batch.y))
            training.trust(batch, kept)
            training.descend((kept * losses).sum() / kept.sum().clamp(min=1))

        return training.fitted()
