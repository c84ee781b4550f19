"""Classifiers over samples as they are, for what a pretrained network sees: class means, streaming discriminant analysis, ridge regression. No gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn.functional import normalize, one_hot, pad, relu

from harness import Search

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["SLDA", "NearestClassMean", "RanPAC", "best_ridge", "cosine_scores", "discriminant_scores", "scatter_of_stream"]

RIDGES = tuple(10.0**exponent for exponent in range(-8, 9))
FITTED = 0.8  # of an experience's samples, to choose the ridge by the others


def vectors(x: Tensor) -> Tensor:
    """Return samples as float64 rows."""
    return x.flatten(1).double()


def cosine_scores(x: Tensor, means: Tensor) -> Tensor:
    """Return the cosines of rows ``(n, d)`` and class means ``(C, d)``, ``(n, C)``."""
    return normalize(x, dim=1) @ normalize(means, dim=1).T


@dataclass
class NearestClassMean:
    """Answer with the class whose mean has the largest cosine; no hyperparameter, and what is learned is never lost."""

    def __post_init__(self) -> None:
        self._means: Tensor | None = None

    def learn(self, experience: Experience, run: Run) -> None:
        """Take the means of the new classes."""
        x, y = vectors(experience.train.x), experience.train.y
        new = torch.stack([x[y == label].mean(dim=0) for label in range(experience.n_old, experience.n_seen)])
        self._means = new if self._means is None else torch.cat([self._means, new])

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the cosines."""
        assert self._means is not None  # the protocol asks after learning

        return cosine_scores(vectors(x), self._means)


def scatter_of_stream(x: Tensor, y: Tensor, means: Tensor, counts: Tensor, seen: int) -> tuple[Tensor, Tensor, Tensor]:
    """
    Add samples one by one to means and to the scatter: ``sum N / (N + 1) e e^T`` with ``e`` the distance to the class's mean before, N the samples before.

    The one product over all samples is that of the recursion ``S <- (N S + e e^T N / (N + 1)) / (N + 1)`` of the reference, times N.

    Args:
        x: ``(n, d)`` in the order of arrival.
        y: ``(n,)``.
        means: ``(C, d)``, 0 for a class without samples.
        counts: ``(C,)``.
        seen: N before the first of them.

    Returns:
        What is added to the scatter ``(d, d)``, the means and the counts behind the last.
    """
    means, counts, distances = means.clone(), counts.clone(), torch.empty_like(x)
    for position, (one, label) in enumerate(zip(x, y.tolist(), strict=True)):
        distances[position] = one - means[label]
        means[label] += distances[position] / (counts[label] + 1)
        counts[label] += 1
    before = torch.arange(seen, seen + len(x), dtype=x.dtype)

    return (distances * (before / (before + 1))[:, None]).T @ distances, means, counts


def discriminant_scores(x: Tensor, means: Tensor, covariance: Tensor, shrinkage: float) -> Tensor:
    """Return ``x^T L mu - mu^T L mu / 2`` with ``L`` the inverse of ``(1 - shrinkage) covariance + shrinkage I``, ``(n, C)``."""
    shrunk = (1 - shrinkage) * covariance + shrinkage * torch.eye(len(covariance), dtype=covariance.dtype)
    weight = torch.linalg.solve(shrunk, means.T)

    return x @ weight - (means.T * weight).sum(dim=0) / 2


@dataclass
class SLDA:
    """
    Linear discriminant analysis, sample by sample: means of the classes and one covariance.

    Args:
        shrinkage: Towards the unit matrix, in (0, 1]; with 1 the nearest mean answers.
    """

    shrinkage: Annotated[float, Gt(0), Le(1), Search(choices=(1e-4, 1e-3, 1e-2, 1e-1))] = 1e-4

    def __post_init__(self) -> None:
        self._means, self._counts, self._scatter = torch.zeros(0, 0), torch.zeros(0), torch.zeros(0, 0)

    def learn(self, experience: Experience, run: Run) -> None:
        """Go through the samples once, in their order."""
        x, n_new = vectors(experience.train.x), experience.n_seen - experience.n_old
        if experience.index == 0:
            self._means, self._scatter = x.new_zeros(0, x.shape[1]), x.new_zeros(x.shape[1], x.shape[1])
        means, counts = pad(self._means, (0, 0, 0, n_new)), pad(self._counts, (0, n_new))
        added, self._means, self._counts = scatter_of_stream(x, experience.train.y, means, counts, int(self._counts.sum()))
        self._scatter = self._scatter + added

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the discriminant functions."""
        return discriminant_scores(vectors(x), self._means, self._scatter / self._counts.sum(), self.shrinkage)


def best_ridge(h: Tensor, targets: Tensor) -> float:
    """
    Choose the ridge whose fit to the first 80 % of samples has the smallest squared error on the others, of ``10^-8 .. 10^8``.

    Args:
        h: ``(n, M)``.
        targets: ``(n, C)``.
    """
    cut = int(len(h) * FITTED)
    values, directions = torch.linalg.eigh(h[:cut].T @ h[:cut])
    rotated, seen = directions.T @ (h[:cut].T @ targets[:cut]), h[cut:] @ directions
    errors = [float((seen @ (rotated / (values + ridge)[:, None]) - targets[cut:]).square().mean()) for ridge in RIDGES]

    return RIDGES[min(range(len(errors)), key=errors.__getitem__)]


@dataclass
class RanPAC:
    """
    Ridge regression on one-hot labels over random features ``relu(x W)``, its sums kept from experience to experience.

    Args:
        projection: Width of the random features, their weights drawn from the stream ``projection``; 0 takes the samples as they are.
    """

    projection: Annotated[int, Ge(0), Search(choices=(0, 500, 1000, 2000))] = 1000

    def __post_init__(self) -> None:
        self._w: Tensor | None = None
        self._gram, self._targets, self._weight = torch.zeros(0, 0), torch.zeros(0, 0), torch.zeros(0, 0)

    def learn(self, experience: Experience, run: Run) -> None:
        """Add to the sums, choose the ridge by the new samples, and solve."""
        x = vectors(experience.train.x)
        if experience.index == 0 and self.projection > 0:
            self._w = torch.randn(x.shape[1], self.projection, generator=run.torch_rng("projection"), dtype=x.dtype)
        h = self._seen(x)
        y = one_hot(experience.train.y, experience.n_seen).to(h.dtype)
        if experience.index == 0:
            self._gram, self._targets = h.new_zeros(h.shape[1], h.shape[1]), h.new_zeros(h.shape[1], 0)
        self._gram = self._gram + h.T @ h
        self._targets = pad(self._targets, (0, experience.n_seen - experience.n_old)) + h.T @ y
        order = torch.randperm(len(h), generator=run.torch_rng(f"ridge {experience.index}"))
        ridge = best_ridge(h[order], y[order])
        self._weight = torch.linalg.solve(self._gram + ridge * torch.eye(len(self._gram), dtype=h.dtype), self._targets)

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the regression."""
        return self._seen(vectors(x)) @ self._weight

    def _seen(self, x: Tensor) -> Tensor:
        return x if self._w is None else relu(x @ self._w)
