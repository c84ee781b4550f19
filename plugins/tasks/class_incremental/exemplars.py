"""Exemplars: which samples stand for a class (herding), and classification by the nearest mean of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from harness.training.classifier import LabelledSet
from harness.training.networks import Network
from harness.training.supervised import PREDICT_BATCH
from plugins.tasks.class_incremental.stream import joined

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["class_means", "features_of", "herding", "keep_exemplars", "nearest_mean_scores", "normalised"]

EPSILON = 1e-8


def normalised(features: Tensor) -> Tensor:
    """Scale rows ``(n, d)`` to length one, or to just below it."""
    lengths: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)

    return features / (lengths + EPSILON)


def herding(features: Tensor, n: int) -> Tensor:
    """
    Choose samples one by one so that the mean of those chosen stays nearest to the mean of all (Rebuffi et al. 2017, arXiv:1611.07725, algorithm 4).

    Args:
        features: ``(N, d)`` of one class; rows are scaled to length one.
        n: At most N.

    Returns:
        ``(n,)`` int64, positions in the order of choice; any first part is as good as a choice of so many.
    """
    v = normalised(features)
    mean, total = v.mean(dim=0), torch.zeros(v.shape[1], dtype=v.dtype)
    chosen: list[int] = []
    # |mean - (v + total) / k|^2 up to what is the same for all: one product with (N, d) a choice, and no difference of that size.
    squares, to_mean = (v * v).sum(dim=1), v @ mean
    for k in range(1, n + 1):
        distance = squares / k**2 + 2 * (v @ total) / k**2 - 2 * to_mean / k
        distance[chosen] = torch.inf
        chosen.append(int(distance.argmin()))
        total += v[chosen[-1]]

    return torch.tensor(chosen, dtype=torch.int64)


@torch.no_grad()
def features_of(network: Network, x: Tensor) -> Tensor:
    """Return what the head reads of samples, ``(n, d)`` float64 on the CPU, in evaluation mode; the pass is not counted."""
    network.eval()
    device = network.head.weight.device

    return torch.cat([network.outputs(part.to(device)).features.double().cpu() for part in torch.split(x, PREDICT_BATCH)])


def keep_exemplars(network: Network, experience: Experience, run: Run) -> None:
    """Fill the memory with the same number of exemplars of each class that has been seen: herded ones of the new classes, the first ones of the old."""
    memory, share = experience.memory, experience.memory.share(experience.n_seen)
    if share == 0:
        return
    parts = []
    for label in range(experience.n_seen):
        source = experience.train if label >= experience.n_old else memory.samples
        assert source is not None  # old classes have exemplars from the experience that brought them
        own = LabelledSet(source.x[source.y == label], source.y[source.y == label])
        if label >= experience.n_old:
            run.count(forward=len(own))
            order = herding(features_of(network, own.x), min(share, len(own)))
            own = LabelledSet(own.x[order], own.y[order])
        parts.append(LabelledSet(own.x[:share], own.y[:share]))
    memory.keep(joined(*parts))


def class_means(features: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Return the mean of each class's normalised features, scaled to length one, ``(n_classes, d)``."""
    v = normalised(features)

    return normalize(torch.stack([v[y == label].mean(dim=0) for label in range(n_classes)]), dim=1)


def nearest_mean_scores(features: Tensor, means: Tensor) -> Tensor:
    """Return the squared distances of normalised features ``(n, d)`` to means ``(C, d)``, negative, ``(n, C)``."""
    return -(normalised(features)[:, None] - means[None]).square().sum(dim=2)
