"""What STORM's rescaler sees of a sample: how its losses and confidences stand among those of its peers (section 3.2 of the card's source, arXiv:2412.12955)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["N_FEATURES", "FeatureMemory", "PassStatistics", "gaussian_kl", "gaussian_overlap", "loss_features", "pass_statistics"]

N_FEATURES = {"all": 19, "loss": 2}

FLOOR = 1e-8  # of a standard deviation: for the overlap, and for a group of one sample


class PassStatistics(NamedTuple):
    """
    What several forward passes say about each sample of a batch.

    Args:
        first_loss: ``(B,)``, the cross entropy of pass 0.
        quantities: ``(B, 4)``, over the passes: mean and standard deviation of the loss, mean and standard deviation of the top-1 probability.
        agrees: ``(B,)`` bool (CAT in the paper): most passes predict the given label; pass 0 decides a tie.
    """

    first_loss: Tensor
    quantities: Tensor
    agrees: Tensor


@torch.no_grad()
def pass_statistics(logits: Tensor, labels: Tensor) -> PassStatistics:
    """
    Summarise the forward passes of a batch. No gradient flows through the result.

    Args:
        logits: ``(G, B, C)``, pass 0 first.
        labels: ``(B,)``, as given.

    Returns:
        Standard deviations are unbiased (``G - 1``), and 0 for a single pass.
    """
    passes = len(logits)
    log_p = logits.log_softmax(dim=2)
    top, predicted = log_p.max(dim=2)
    loss = -log_p.gather(2, labels.expand(passes, -1)[:, :, None]).squeeze(2)

    observed = torch.stack((loss, top.exp()), dim=2)  # (G, B, 2)
    mean = observed.mean(dim=0)
    std = ((observed - mean).square().sum(dim=0) / max(passes - 1, 1)).sqrt()
    hits = predicted == labels
    votes = 2 * hits.sum(dim=0)

    return PassStatistics(
        first_loss=loss[0],
        quantities=torch.stack((mean, std), dim=2).flatten(1),
        agrees=(votes > passes) | ((votes == passes) & hits[0]),
    )


def gaussian_kl(mean1: Tensor, std1: Tensor, mean2: Tensor, std2: Tensor) -> Tensor:
    """
    Return KL(N(mean1, std1 ** 2) || N(mean2, std2 ** 2)) elementwise, in nats; 0 where either standard deviation is 0, as the released code defines it.

    Args:
        mean1: Any shape, as the others.
        std1: At least 0.
        mean2: Like ``mean1``.
        std2: At least 0.
    """
    kl = (std2 / std1).log() + (std1.square() + (mean1 - mean2).square()) / (2 * std2.square()) - 0.5

    return torch.where((std1 == 0) | (std2 == 0), torch.zeros_like(kl), kl)


def gaussian_overlap(mean1: Tensor, std1: Tensor, mean2: Tensor, std2: Tensor) -> Tensor:
    """
    Return the area under the lower of two normal densities, elementwise, in [0, 1].

    The densities cross where a quadratic equation has its two roots; the overlap is 1 minus the differences of the distribution functions there.

    Args:
        mean1: Any shape, as the others. Wants float64: the roots cancel where the variances are close.
        std1: Floored at 1e-8.
        mean2: Like ``mean1``.
        std2: Floored at 1e-8.
    """
    std1, std2 = std1.clamp(min=FLOOR), std2.clamp(min=FLOOR)
    var1, var2 = std1.square(), std2.square()
    gap, spread = (mean1 - mean2).abs(), var2 - var1
    centre = mean1 * var2 - mean2 * var1
    reach = std1 * std2 * (gap.square() + spread * (var2 / var1).log()).sqrt()
    roots = torch.stack((centre + reach, centre - reach)) / spread
    crossing = ((roots - mean1) / (std1 * math.sqrt(2))).erf() - ((roots - mean2) / (std2 * math.sqrt(2))).erf()
    unequal = 1 - crossing.abs().sum(dim=0) / 2

    return torch.where(spread == 0, torch.erfc(gap / (2 * math.sqrt(2) * std1)), unequal)


def loss_features(statistics: PassStatistics) -> Tensor:
    """Return the reduced features ``(B, 2)``: the loss of pass 0, and whether most passes predict the given label."""
    return torch.stack((statistics.first_loss, statistics.agrees.to(statistics.first_loss.dtype)), dim=1)


class FeatureMemory:
    """
    The latest samples of each class, against which a sample is described.

    The peers of a sample are the remembered samples with its label and its value of ``agrees``. Everything is kept in float64, because the overlap needs it.

    Args:
        n_classes: Number of classes C, each with a memory of its own.
        capacity: Samples that each class remembers, the oldest forgotten first; at least the size of a batch.
        device: Where the memory lies.
    """

    def __init__(self, n_classes: int, capacity: int, device: str = "cpu") -> None:
        self._quantities = torch.zeros(n_classes, capacity, 4, dtype=torch.float64, device=device)
        self._member = torch.zeros(n_classes, 2, capacity, dtype=torch.float64, device=device)
        self._next = torch.zeros(n_classes, dtype=torch.int64, device=device)

    def clear(self) -> None:
        """Forget everything."""
        for state in (self._quantities, self._member, self._next):
            state.zero_()

    @torch.no_grad()
    def describe(self, statistics: PassStatistics, labels: Tensor) -> Tensor:
        """
        Remember a batch, then describe each of its samples.

        Args:
            statistics: Of the batch, which is no larger than the capacity.
            labels: ``(B,)``, in ``0 .. C-1``.

        Returns:
            ``(B, 19)``, in the dtype of the statistics. For the mean loss, the spread of the loss, the mean confidence, the spread of the confidence, the KL
            divergence and the overlap of the sample's loss distribution with that of its peers: the sample's own value, the mean over its peers
            (itself among them) and their standard deviation; then ``agrees``.
        """
        slot = self._remember(statistics, labels)
        side = statistics.agrees.long()
        quantities = _GroupMoments(self._member, self._quantities)
        loss, loss_std = self._quantities[..., 0], self._quantities[..., 1]
        peer_loss, peer_loss_std = quantities.of_entries[..., 0], quantities.of_entries[..., 1]
        distances = torch.stack(
            (gaussian_kl(loss, loss_std, peer_loss, peer_loss_std), gaussian_overlap(loss, loss_std, peer_loss, peer_loss_std)), dim=2
        )
        moments = _GroupMoments(self._member, distances)
        columns = (
            torch.cat((self._quantities[labels, slot], distances[labels, slot]), dim=1),
            torch.cat((quantities.mean[labels, side], moments.mean[labels, side]), dim=1),
            torch.cat((quantities.std[labels, side], moments.std[labels, side]), dim=1),
        )
        described = torch.cat((torch.stack(columns, dim=2).flatten(1), side[:, None]), dim=1)

        return described.to(statistics.quantities.dtype)

    def _remember(self, statistics: PassStatistics, labels: Tensor) -> Tensor:
        """Write the batch over the oldest entries of its classes and return the slot ``(B,)`` of each sample."""
        one_hot = labels[:, None] == torch.arange(len(self._next), device=labels.device)
        earlier = one_hot.cumsum(dim=0)
        slot = (self._next[labels] + earlier.gather(1, labels[:, None]).squeeze(1) - 1) % self._member.shape[2]
        self._quantities[labels, slot] = statistics.quantities.double()
        agrees = statistics.agrees.double()
        self._member[labels, :, slot] = torch.stack((1 - agrees, agrees), dim=1)
        self._next += earlier[-1]

        return slot


class _GroupMoments:
    """
    Mean and unbiased standard deviation of each group ``(C, 2, q)``, and for each entry the mean of its own group ``(C, m, q)``.

    Args:
        member: ``(C, 2, m)``, 1 where the entry belongs to the group; an empty slot belongs to none.
        values: ``(C, m, q)``, finite in empty slots.
    """

    def __init__(self, member: Tensor, values: Tensor) -> None:
        count = member.sum(dim=2, keepdim=True)
        self.mean = member @ values / count.clamp(min=1)
        self.of_entries = member.mT @ self.mean
        variance = member @ (values - self.of_entries).square() / (count - 1).clamp(min=1)
        self.std = torch.where(count > 1, variance.sqrt(), FLOOR)
