"""A small data set of the task ``corruption_robustness`` for tests: pictures with a bright corner, brighter or with noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from harness import Budget, Run
from harness.training.parts import Part
from plugins.tasks.corruption_robustness.data import CorruptionData
from plugins.tasks.corruption_robustness.datasets.small_corruptions import corrupt_small_images
from plugins.tasks.corruption_robustness.protocol import CorruptionRobustnessProtocol

__all__ = ["CORNERS", "SETTINGS", "confronted", "make_data", "normed_network", "written"]

SETTINGS = {
    "widths": (4, 6),
    "batch_size": 20,
    "pretrain_epochs": 1,
    "finetune_epochs": 1,
    "alphas": (0.0, 1.0),
    "severities": (1,),
}
CORNERS = [(0, 0), (0, 3), (3, 0), (3, 3)]


def make_data(seed: int = 0, shift: int = 0, network: nn.Module | None = None, **changed) -> CorruptionData:
    """``shift`` moves every test label."""
    rng = np.random.default_rng(seed)
    parts = []
    for n in (60, 60, 20, 40):
        y = rng.integers(4, size=n)
        x = rng.integers(0, 60, size=(n, 6, 6))
        for picture, label in zip(x, y, strict=True):
            row, column = CORNERS[label]
            picture[row : row + 3, column : column + 3] += 120
        parts.append(Part(x.astype(np.uint8), y))
    parts[3] = parts[3]._replace(y=(parts[3].y + shift) % 4)
    values = {"corruptions": ("gaussian_noise", "brightness"), "severity": 5, "corrupt": corrupt_small_images, "seed": seed}

    return CorruptionData(None if network is not None else parts[0], *parts[1:], n_classes=4, network=network, **{**values, **changed})


def normed_network() -> nn.Module:
    """A network with batch normalisation, a residual block and a shortcut, whose statistics are not those of a new one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), _Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)
        )
        network(torch.rand(50, 1, 6, 6))

    return network.eval()


def written(folder, data: CorruptionData | None = None, seed: int = 0, **settings):
    """Build the artifact."""
    CorruptionRobustnessProtocol(**{**SETTINGS, **settings}).build_artifact(data or make_data(seed), Run(seed, Budget()), folder)

    return folder


def confronted(method, folder, data: CorruptionData | None = None, privileges=("corrupted",), seed: int = 0, epochs: int = 1, **settings):
    """Return the outcome and the run."""
    run = Run(seed, Budget(epochs=epochs), artifact=folder)
    protocol = CorruptionRobustnessProtocol(**{**SETTINGS, **settings})

    return protocol.confront(method, data or make_data(seed), run, privileges), run


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.shortcut = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.layer(x)) + self.shortcut(x))
