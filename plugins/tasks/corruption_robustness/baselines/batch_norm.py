"""Adaptation of batch normalisation to the test pictures (Schneider et al. 2020, arXiv:2006.16971): no labels, no gradient."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from harness import Search, TrialUnsupported
from plugins.tasks.corruption_robustness.patching import has_norms
from plugins.tasks.corruption_robustness.protocol import Hardened

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.corruption_robustness.protocol import RobustnessView

__all__ = ["BatchNormAdaptation", "Statistics", "adapted_statistics"]


class Statistics(NamedTuple):
    """
    Mean and variance of each channel.

    Args:
        mean: ``(C,)``.
        variance: ``(C,)``.
    """

    mean: Tensor
    variance: Tensor


def adapted_statistics(x: Tensor, source: Statistics, pseudo_size: float) -> Statistics:
    """
    Return ``N / (N + n) source + n / (N + n) batch`` of mean and variance (equation (2) of the paper).

    The batch's variance is the unbiased one, over all n h w values of a channel, as in the authors' code.

    Args:
        x: ``(n, C, h, w)``.
        source: Those that training has left.
        pseudo_size: N, at least 0: how many pictures the source counts; 0 takes the batch alone.
    """
    share = pseudo_size / (pseudo_size + len(x))
    variance, mean = torch.var_mean(x, dim=(0, 2, 3))

    return Statistics(share * source.mean + (1 - share) * mean, share * source.variance + (1 - share) * variance)


@dataclass
class BatchNormAdaptation:
    """
    Let the standard network normalise test pictures by statistics that they decide in part, a batch at a time; nothing is kept from one to the next.

    Args:
        batch: n, test pictures of one corruption and severity that come together.
        pseudo_size: N.
    """

    batch: Annotated[int, Ge(1), Search(choices=(8, 64, 512))] = 64
    pseudo_size: Annotated[float, Ge(0), Search(choices=(0.0, 16.0, 256.0))] = 16.0

    def fit(self, data: RobustnessView, run: Run) -> Hardened:
        """
        Exchange the normalisations.

        Raises:
            TrialUnsupported: The network has none.
        """
        if not has_norms(data.standard):
            raise TrialUnsupported("the network has no batch normalisation whose statistics could adapt")
        network = _Batches(_exchanged(copy.deepcopy(data.standard), self.pseudo_size), self.batch)

        return Hardened(lambda _: network, 0)


class _AdaptingNorm(nn.Module):
    """Batch normalisation in evaluation mode whose statistics follow the batch."""

    def __init__(self, norm: nn.BatchNorm2d, pseudo_size: float) -> None:
        super().__init__()
        self.norm = norm
        self.pseudo_size = pseudo_size

    def forward(self, x: Tensor) -> Tensor:
        source = Statistics(self.norm.running_mean, self.norm.running_var)  # type: ignore[arg-type]  # tracked
        mean, variance = adapted_statistics(x, source, self.pseudo_size)

        return batch_norm(x, mean, variance, self.norm.weight, self.norm.bias, eps=self.norm.eps)


class _Batches(nn.Module):
    """A network that is given so many pictures at a time."""

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.network(part) for part in torch.split(x, self.size)])


def _exchanged(network: nn.Module, pseudo_size: float) -> nn.Module:
    for name, child in network.named_children():
        setattr(network, name, _AdaptingNorm(child, pseudo_size) if isinstance(child, nn.BatchNorm2d) else _exchanged(child, pseudo_size))

    return network
