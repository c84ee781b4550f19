"""A small stream of the task ``class_incremental`` for tests: points around the corners of a cube, or pictures of as many brightnesses."""

from __future__ import annotations

import torch

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.tasks.class_incremental.protocol import ClassIncrementalProtocol

N_CLASSES = 6
SMALL = {"model": "mlp", "widths": (8,), "batch_size": 10, "experiences": 3, "memory": 12}


def points(shift=0, n=240, n_classes=N_CLASSES, seed=0):
    """Give classes that lie apart; ``shift`` moves every test label."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % n_classes
    x = 2 * torch.eye(n_classes)[y] + 0.3 * torch.randn(n, n_classes, generator=generator)
    third = n // 3

    return ImageData(
        LabelledSet(x[:third], y[:third]),
        LabelledSet(x[third : 2 * third], y[third : 2 * third]),
        LabelledSet(x[2 * third :], (y[2 * third :] + shift) % n_classes),
        n_classes,
    )


def pictures(n=120, side=8):
    """Give pictures of four classes, one bright quarter each."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 4
    x = 0.3 * torch.rand(n, 1, side, side, generator=generator)
    half = side // 2
    for quarter in range(4):
        x[y == quarter, :, half * (quarter // 2) :, half * (quarter % 2) :] += 0.7
    third = n // 3
    parts = [LabelledSet(x[low : low + third], y[low : low + third]) for low in range(0, n, third)]

    return ImageData(*parts, n_classes=4)


def confronted(method, data=None, privileges=(), seed=0, epochs=2, **settings):
    """Lead a method through a small stream; returns the outcome and the run."""
    run = Run(seed, Budget(epochs=epochs))
    outcome = ClassIncrementalProtocol(**(SMALL | settings)).confront(method, points() if data is None else data, run, privileges)

    return outcome, run
