"""
DivideMix (Li et al., 2020; algorithm 1 of arXiv:2002.07394).

Two networks: each splits the training set by its losses into probably right and probably wrong labels, and the other learns from this division by
semi-supervised learning, in which the probably wrong labels are replaced by guesses.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from harness import Search
from harness.training.classifier import LabelledSet, NetworkEnsemble
from plugins.tasks.noisy_labels.loop import Training, build_network

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = [
    "DivideMix",
    "MixedLosses",
    "Pool",
    "Rows",
    "clean_probabilities",
    "guessed_targets",
    "mixed_losses",
    "mixed_rows",
    "refined_targets",
    "sharpened",
    "stacked_rows",
    "unsupervised_ramp",
]


def clean_probabilities(losses: np.ndarray) -> np.ndarray:
    """
    Return the probability that each label is right, ``(N,)``: the posterior of the smaller mean of two Gaussians fitted to the losses.

    The losses are scaled to [0, 1] first. The mixture has the settings of the authors' code: at most 10 iterations, tolerance 1e-2, covariance floor 5e-4.

    Args:
        losses: ``(N,)``, the cross entropy of each training sample to its given label.
    """
    spread = losses.max() - losses.min()
    scaled = ((losses - losses.min()) / max(spread, np.finfo(losses.dtype).tiny))[:, None]
    mixture = GaussianMixture(n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten iterations are the method's own limit
        mixture.fit(scaled)

    return mixture.predict_proba(scaled)[:, mixture.means_.argmin()]


def sharpened(probabilities: Tensor, temperature: float) -> Tensor:
    """Return ``p ** (1 / T)``, normalised over the last axis; a temperature below 1 lowers the entropy."""
    powers = probabilities ** (1 / temperature)

    return powers / powers.sum(dim=-1, keepdim=True)


def refined_targets(probabilities: Tensor, target: Tensor, trust: Tensor, temperature: float) -> Tensor:
    """
    Return the targets of labelled samples, ``(B, C)``: the label and the network's own prediction, mixed by the trust in the label, sharpened.

    Args:
        probabilities: ``(2, B, C)``, of the network that is trained, for two augmentations.
        target: ``(B,)``, class indices.
        trust: ``(B,)``, in [0, 1], from the other network.
        temperature: Of the sharpening.
    """
    label = one_hot(target, probabilities.shape[-1])
    mixed = trust[:, None] * label + (1 - trust[:, None]) * probabilities.mean(dim=0)

    return sharpened(mixed, temperature)


def guessed_targets(probabilities: Tensor, temperature: float) -> Tensor:
    """Return the targets of unlabelled samples, ``(B, C)``: the mean of the predictions ``(4, B, C)`` of two networks for two augmentations, sharpened."""
    return sharpened(probabilities.mean(dim=0), temperature)


class MixedLosses(NamedTuple):
    """
    The parts of the loss, scalars.

    Args:
        supervised: Cross entropy to the soft targets, over the labelled rows.
        unsupervised: Squared error of the probabilities, over the other rows and all classes.
        penalty: Divergence of the uniform distribution from the mean prediction, which keeps a network from naming one class only.
    """

    supervised: Tensor
    unsupervised: Tensor
    penalty: Tensor


def mixed_losses(logits: Tensor, targets: Tensor, n_labelled: int) -> MixedLosses:
    """
    Return the three parts of the loss after mixing; the loss of a part without rows is 0.

    Args:
        logits: ``(R, C)``, the labelled rows first.
        targets: ``(R, C)``, soft.
        n_labelled: How many rows are labelled.
    """
    probabilities = logits.softmax(dim=1)
    n_rows, n_classes = logits.shape
    supervised = cross_entropy(logits[:n_labelled], targets[:n_labelled], reduction="sum") / max(1, n_labelled)
    squared = (probabilities[n_labelled:] - targets[n_labelled:]).square().sum()
    penalty = -(probabilities.mean(dim=0) * n_classes).log().mean()

    return MixedLosses(supervised, squared / (max(1, n_rows - n_labelled) * n_classes), penalty)


class Rows(NamedTuple):
    """
    What a network is trained on in one step, the labelled rows first.

    Args:
        x: ``(R, ...)``.
        targets: ``(R, C)``, soft.
        n_labelled: How many rows are labelled.
    """

    x: Tensor
    targets: Tensor
    n_labelled: int


def stacked_rows(views: Tensor, targets: Tensor, n_labelled: int) -> Rows:
    """
    Put the views of a batch under each other: all views of the labelled samples, then all views of the others.

    Args:
        views: ``(V, B, ...)``, the labelled samples first.
        targets: ``(B, C)``, the same for all views of a sample.
        n_labelled: How many samples are labelled.
    """
    parts = [views[:, :n_labelled].flatten(0, 1), views[:, n_labelled:].flatten(0, 1)]
    soft = [targets[:n_labelled].repeat(len(views), 1), targets[n_labelled:].repeat(len(views), 1)]

    return Rows(torch.cat(parts), torch.cat(soft), len(parts[0]))


class Pool:
    """
    Samples that are drawn in random order, each once before any comes again.

    Args:
        index: ``(n,)``, positions; possibly none.
        rng: Decides the order.
    """

    def __init__(self, index: np.ndarray, rng: np.random.Generator) -> None:
        self._index, self._rng = index, rng
        self._waiting = index[:0]

    def draw(self, count: int) -> np.ndarray:
        """Return ``(count,)`` positions; none of an empty pool."""
        while len(self._waiting) < count and len(self._index):
            self._waiting = np.concatenate((self._waiting, self._rng.permutation(self._index)))
        drawn, self._waiting = self._waiting[:count], self._waiting[count:]

        return drawn


def mixed_rows(rows: Rows, partner: Tensor, share: float) -> Rows:
    """Mix every row with the row ``partner`` ``(R,)``: inputs and targets are ``share`` of the row and ``1 - share`` of its partner."""
    return Rows(
        share * rows.x + (1 - share) * rows.x[partner],
        share * rows.targets + (1 - share) * rows.targets[partner],
        rows.n_labelled,
    )


def unsupervised_ramp(epoch: float, warm_up: float, length: float) -> float:
    """Return the factor of the unsupervised weight: 0 until the end of the warm-up, then up evenly to 1 over ``length`` epochs."""
    return min(1.0, max(0.0, (epoch - warm_up) / length))


@dataclass
class DivideMix:
    """
    Train two networks on each other's division of the training set.

    Args:
        warm_up_fraction: Share of the epochs with plain cross entropy before the first division.
        ramp_fraction: Share of the epochs over which the unsupervised weight rises.
        threshold: A sample counts as labelled where its label is right with a greater probability.
        temperature: Of the sharpening.
        alpha: Both parameters of the beta distribution of the mixing coefficient.
        unsupervised_weight: The paper's lambda_u, after the ramp.
        jitter: The augmentation where the recipe has none: Gaussian noise on the inputs, its standard deviation in units of that of all training inputs.
    """

    warm_up_fraction: Annotated[float, Ge(0), Lt(1), Search(0.1, 0.5)] = 0.2
    ramp_fraction: Annotated[float, Gt(0), Le(1)] = 0.2
    threshold: Annotated[float, Ge(0), Lt(1), Search(0.3, 0.8)] = 0.5
    temperature: Annotated[float, Gt(0), Le(1), Search(0.2, 1.0)] = 0.5
    alpha: Annotated[float, Gt(0), Search(choices=(0.5, 1.0, 4.0))] = 4.0
    unsupervised_weight: Annotated[float, Ge(0), Search(choices=(0.0, 1.0, 5.0, 25.0, 50.0, 150.0))] = 25.0
    jitter: Annotated[float, Ge(0), Search(choices=(0.0, 0.1, 0.2, 0.5))] = 0.2

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train both networks; the weight of a sample is the mean of the probabilities that the two give to its label being right."""
        epochs = run.budget.require("epochs")
        warm_up, ramp = round(self.warm_up_fraction * epochs), max(1, round(self.ramp_fraction * epochs))
        networks = [build_network(data, run), build_network(data, run, stream="init_2")]
        training = Training(networks, data.recipe.build_optimizer(*networks), data, run)
        train = data.train.to(run.device)
        mix_rng, pool_rng, view_rng = run.rng("mix"), run.rng("pools"), run.torch_rng("views")
        scale = self.jitter * train.x.std()
        half = data.recipe.batch_size // 2
        trust = torch.ones(2, len(train), device=run.device)  # row k: the division that network k is trained on
        pools: list[tuple[Pool, Pool]] = []  # of each network: labelled, unlabelled

        def view(x: Tensor) -> Tensor:
            if data.recipe.augmentation == "none":
                return x + scale * torch.randn(x.shape, generator=view_rng).to(run.device)

            return data.recipe.augment(x, view_rng)

        def semi_supervised_loss(k: int, weight: float) -> Tensor:
            own, other = networks[k], networks[1 - k]
            labelled, unlabelled = (torch.from_numpy(pool.draw(half)).to(run.device) for pool in pools[k])
            index, n_labelled = torch.cat((labelled, unlabelled)), len(labelled)
            views = torch.stack([view(train.x[index]) for _ in range(2)])
            with torch.no_grad():
                predicted = _probabilities(own, views)
                refined = refined_targets(predicted[:, :n_labelled], train.y[labelled], trust[k, labelled], self.temperature)
                other.eval()
                guesses = torch.cat((predicted[:, n_labelled:], _probabilities(other, views[:, n_labelled:])))
                other.train()
            rows = stacked_rows(views, torch.cat((refined, guessed_targets(guesses, self.temperature))), n_labelled)
            share = float(mix_rng.beta(self.alpha, self.alpha))
            partner = torch.from_numpy(mix_rng.permutation(len(rows.x))).to(run.device)
            mixed = mixed_rows(rows, partner, max(share, 1 - share))
            parts = mixed_losses(training.logits(mixed.x, own), mixed.targets, mixed.n_labelled)
            run.count(forward=2 * (len(index) + len(unlabelled)))

            return parts.supervised + weight * parts.unsupervised + parts.penalty

        for epoch, batches in training.epochs():
            is_warm = epoch >= warm_up
            if is_warm:
                for k in range(2):
                    trust[k] = _trust(networks[1 - k], train)
                right = (trust > self.threshold).cpu().numpy()
                pools = [(Pool(np.flatnonzero(row), pool_rng), Pool(np.flatnonzero(~row), pool_rng)) for row in right]
                run.count(forward=2 * len(train))
            for batch in batches:
                if is_warm:
                    weight = self.unsupervised_weight * unsupervised_ramp(epoch, warm_up, ramp)
                    loss_1, loss_2 = (semi_supervised_loss(k, weight) for k in range(2))
                else:
                    loss_1, loss_2 = (cross_entropy(training.logits(batch.x, network), batch.y) for network in networks)
                loss = loss_1 + loss_2  # the networks share no parameters, so one backward pass serves both
                training.trust(batch, trust[:, batch.index].mean(dim=0))
                training.descend(loss, samples=(4 if is_warm else 2) * len(batch.y), train_loss=loss / 2)

        return training.fitted()


def _probabilities(network: nn.Module, views: Tensor) -> Tensor:
    """Map ``(V, B, ...)`` to ``(V, B, C)``; B may be 0."""
    probabilities: Tensor = network(views.flatten(0, 1)).softmax(dim=1)

    return probabilities.unflatten(0, views.shape[:2])


def _trust(network: nn.Module, train: LabelledSet) -> Tensor:
    given = NetworkEnsemble([network]).predict_proba(train.x).gather(1, train.y.cpu()[:, None]).squeeze(1)
    losses = -given.double().clamp(min=1e-30).log().numpy()  # where a probability underflows, the loss stays finite

    return torch.from_numpy(clean_probabilities(losses)).to(train.x)
