"""Labelled samples, classifiers that give probabilities, and what fitting one returns."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

__all__ = ["Classifier", "Fitted", "LabelledSet", "NetworkEnsemble", "labelled_set"]

PREDICT_BATCH = 1024  # large enough that the overhead per batch vanishes, small enough for a few MB of activations


@dataclass(frozen=True)
class LabelledSet:
    """
    Samples with labels.

    Args:
        x: ``(N, ...)``, float32.
        y: ``(N,)``, int64, in ``0 .. C-1``.
    """

    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: str) -> LabelledSet:
        """Return the set on ``device``."""
        return LabelledSet(self.x.to(device), self.y.to(device))


def labelled_set(x: np.ndarray, y: np.ndarray) -> LabelledSet:
    """Return float32 samples and labels of any integer type as tensors."""
    return LabelledSet(torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y.astype(np.int64)))


class Classifier(Protocol):
    """Anything that gives class probabilities."""

    def predict_proba(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(n, ...)`` to probabilities ``(n, C)`` on the CPU; rows sum to 1."""


@dataclass(frozen=True)
class Fitted:
    """
    What fitting a classifier returns.

    Args:
        last: The classifier after the last epoch.
        best: The classifier at the epoch of the best validation score.
        sample_weights: ``(N,)``, the trust put in each training label at the end (any scale, higher is more); ``None`` where there is none.
    """

    last: Classifier
    best: Classifier
    sample_weights: torch.Tensor | None = None


class NetworkEnsemble:
    """
    A classifier made of one or several networks that output logits; their probabilities are averaged.

    Args:
        networks: All on one device.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = list(networks)

    @torch.no_grad()
    def predict_proba(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(n, ...)`` to mean probabilities ``(n, C)`` on the CPU, without dropout; the networks' mode is left as found."""
        device = next(self.networks[0].parameters()).device
        modes = [network.training for network in self.networks]
        for network in self.networks:
            network.eval()
        batches = [
            torch.stack([network(part.to(device)).softmax(dim=1) for network in self.networks]).mean(dim=0).cpu()
            for part in torch.split(x, PREDICT_BATCH)
        ]
        for network, mode in zip(self.networks, modes, strict=True):
            network.train(mode)

        return torch.cat(batches)

    def snapshot(self) -> NetworkEnsemble:
        """Return a copy that further training does not change."""
        return NetworkEnsemble([copy.deepcopy(network) for network in self.networks])
