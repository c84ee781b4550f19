"""Pictures that a small network learns within a second, and a trial on them."""

from __future__ import annotations

import torch

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.tasks.supervised.protocol import SupervisedProtocol


def pictures(n=60, n_classes=3, side=8):
    """Give classes that differ in brightness, so that they can be learned."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(n_classes, (n,), generator=generator)
    part = LabelledSet(0.3 * torch.rand(n, 1, side, side, generator=generator) + y[:, None, None, None] / n_classes, y)

    return ImageData(part, part, part, n_classes)


def confronted(method, seed=0, epochs=2, **protocol):
    recipe = {"widths": (4, 4), "batch_size": 20} | protocol

    return SupervisedProtocol(**recipe).confront(method, pictures(), Run(seed, Budget(epochs=epochs)), ())
