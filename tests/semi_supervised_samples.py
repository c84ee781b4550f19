"""A small data set of the task ``semi_supervised`` for tests: points around the corners of a square."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.training.classifier import LabelledSet
from plugins.tasks.semi_supervised.protocol import SemiSupervisedDataset

N_CLASSES = 4
CORNERS = torch.tensor([[2.0, 2.0], [-2.0, 2.0], [-2.0, -2.0], [2.0, -2.0]])


@dataclass(frozen=True)
class Jitter:
    """Views that move a point a little, or more."""

    def weak(self, x, generator):
        return x + 0.1 * torch.randn(x.shape, generator=generator)

    def strong(self, x, generator):
        return x + 0.8 * torch.randn(x.shape, generator=generator)


def blobs(n: int = 200, labels_per_class: int = 2, shift: int = 0, seed: int = 0) -> SemiSupervisedDataset:
    """Draw the data; ``shift`` moves every hidden label."""
    generator = torch.Generator().manual_seed(seed)

    def draw(size):
        y = torch.arange(size) % N_CLASSES
        return LabelledSet(CORNERS[y] + torch.randn(size, 2, generator=generator), y)

    train, valid, test = draw(n), draw(40), draw(80)
    few = N_CLASSES * labels_per_class

    return SemiSupervisedDataset(
        labelled=LabelledSet(train.x[:few], train.y[:few]),
        unlabelled_x=train.x,
        unlabelled_y=(train.y + shift) % N_CLASSES,
        valid=valid,
        test=LabelledSet(test.x, (test.y + shift) % N_CLASSES),
        n_classes=N_CLASSES,
        views=Jitter(),
    )
