"""
The baselines that only change the loss, several seeds as one program.

What :func:`plugins.tasks.noisy_labels.loop.fit_by_loss` does for one seed: the same streams, the same dropout masks, the same choice of the best epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.training.classifier import Fitted, LabelledSet, NetworkEnsemble
from harness.training.seeds_at_once import TrainingAtOnce
from harness.training.stacking import GivenDropout, Stacked
from plugins.tasks.noisy_labels.baselines.gce import GCE, generalised_cross_entropy
from plugins.tasks.noisy_labels.baselines.label_smoothing import LabelSmoothing, smoothed_cross_entropy
from plugins.tasks.noisy_labels.loop import build_network

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.noisy_labels.baselines.cross_entropy import CrossEntropy
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["fit_cross_entropy", "fit_gce", "fit_label_smoothing"]


class Losses(NamedTuple):
    """The mean loss of a batch, and the weight ``(B,)`` of each sample; all ones where the method has none."""

    mean: Tensor
    weights: Tensor


LossOf = Callable[[Tensor, Tensor], Losses]  # of logits (B, C) and labels (B,)


def fit_cross_entropy(method: CrossEntropy, views: Sequence[NoisyLabels], runs: Sequence[Run]) -> list[Fitted]:
    """Train as :class:`plugins.tasks.noisy_labels.baselines.cross_entropy.CrossEntropy` does."""
    return _fit(views, runs, lambda logits, y: Losses(cross_entropy(logits, y), torch.ones_like(y, dtype=logits.dtype)), weighted=False)


def fit_label_smoothing(method: LabelSmoothing, views: Sequence[NoisyLabels], runs: Sequence[Run]) -> list[Fitted]:
    """Train as :class:`plugins.tasks.noisy_labels.baselines.label_smoothing.LabelSmoothing` does."""

    def loss(logits: Tensor, y: Tensor) -> Losses:
        return Losses(smoothed_cross_entropy(logits, y, method.smoothing).mean(), torch.ones_like(y, dtype=logits.dtype))

    return _fit(views, runs, loss, weighted=False)


def fit_gce(method: GCE, views: Sequence[NoisyLabels], runs: Sequence[Run]) -> list[Fitted]:
    """Train as :class:`plugins.tasks.noisy_labels.baselines.gce.GCE` does."""

    def loss(logits: Tensor, y: Tensor) -> Losses:
        losses = generalised_cross_entropy(logits, y, method.q)

        return Losses(losses.mean(), 1 - method.q * losses.detach())

    return _fit(views, runs, loss, weighted=True)


class _AtOnce(TrainingAtOnce):
    """Keeps each seed at its best validation score, as :class:`plugins.tasks.noisy_labels.loop.Training` does."""

    def __init__(self, networks: Sequence[nn.Module], stacked: Stacked, views: Sequence[NoisyLabels], runs: Sequence[Run]) -> None:
        super().__init__(views[0].recipe.optimizer_over(stacked.parameters.values()), views, runs)
        self._stacked, self._views, self._select_by = stacked, views, views[0].recipe.select_by
        self.last = [NetworkEnsemble([network]) for network in networks]
        self.best, self._best_scores = list(self.last), [-math.inf] * len(runs)

    def validate(self) -> list[dict[str, float]]:
        """Score each seed."""
        self._stacked.write_back()
        scores = [_score(ensemble, view.valid, self._select_by) for ensemble, view in zip(self.last, self._views, strict=True)]
        for s, score in enumerate(scores):
            if score > self._best_scores[s]:
                self.best[s], self._best_scores[s] = self.last[s].snapshot(), score

        return [{f"valid_{self._select_by}": score} for score in scores]


def _fit(views: Sequence[NoisyLabels], runs: Sequence[Run], loss: LossOf, weighted: bool) -> list[Fitted]:
    """Train one network a seed and keep each after the last epoch and at its best validation score."""
    recipe, device = views[0].recipe, runs[0].device
    if device != "cpu" and recipe.dropout > 0:
        raise ValueError("the masks of dropout are drawn on the device there: the seeds would not train as they do one by one")
    networks = [_without_own_dropout(build_network(view, run).train(), recipe.batch_size) for view, run in zip(views, runs, strict=True)]
    stacked = Stacked(networks)
    masks = {f"{name}.mask": module for name, module in networks[0].named_modules() if isinstance(module, GivenDropout)}
    droppers = [run.torch_rng("global") for run in runs]
    seeds = torch.arange(len(runs), device=device)[:, None]
    weights = torch.full((len(runs), len(views[0].train)), math.nan, device=device)
    training = _AtOnce(networks, stacked, views, runs)

    def one(parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Losses:
        return loss(stacked.call(parameters, buffers, x), y)

    for batch in training.batches():
        for name, module in masks.items():
            stacked.buffers[name] = torch.stack([module.draw(dropper) for dropper in droppers])
        value = torch.vmap(one)(stacked.parameters, stacked.buffers, batch.x, batch.y)
        training.descend(value.mean)
        weights[seeds, batch.index] = value.weights

    filled = torch.where(weights.isnan(), weights.nanmean(dim=1, keepdim=True), weights)

    return [
        Fitted(last=last, best=chosen, sample_weights=trust if weighted else None)
        for last, chosen, trust in zip(training.last, training.best, filled, strict=True)
    ]


def _without_own_dropout(network: nn.Sequential, batch_size: int) -> nn.Sequential:
    """Replace the recipe's one dropout, on its last hidden layer, by one whose masks are given."""
    layers = [
        GivenDropout(layer.p, (batch_size, network[-1].in_features)) if isinstance(layer, nn.Dropout) and layer.p > 0 else layer
        for layer in network
    ]

    return nn.Sequential(*layers).train()


def _score(ensemble: NetworkEnsemble, valid: LabelledSet, select_by: str) -> float:
    predicted = ensemble.predict_proba(valid.x).argmax(dim=1).numpy()
    truth = valid.y.cpu().numpy()
    if select_by == "f1":
        return float(f1_score(truth, predicted, labels=[1], average="macro", zero_division=0))

    return float(accuracy_score(truth, predicted))
