"""
Views of pictures beside kornia's augmentations: milliseconds a batch, and how many ways a batch is changed in.

Prints Markdown tables.

    python benchmarks/augmentation.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everybody; read when torch is imported

import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median

import kornia.augmentation as kornia
import torch
from kornia.augmentation.auto import RandAugment
from tabulate import tabulate
from torch import Tensor

from harness.environment import machine_facts
from harness.training.augmentation import flip
from plugins.tasks.semi_supervised.rand_augment import GREY, cut_out, rand_augment
from plugins.tasks.semi_supervised.views import STRONG, WEAK, crop_reflected, deform

REPEATS = 15
MAGNITUDE = 10  # of 30; kornia's is the same for every picture

generator = torch.Generator().manual_seed(0)


def deformed_by_kornia(strong: bool) -> kornia.AugmentationSequential:
    """Say the limits of our views of digits in kornia's words, as far as it has them: its noise has one size for a batch, its hole an area."""
    limits = STRONG if strong else WEAK
    steps = [
        kornia.RandomAffine(
            degrees=limits.rotation,
            translate=(limits.shift / 16, limits.shift / 8),
            scale=(1 - limits.scale, 1 + limits.scale),
            shear=(-14.0, 14.0) if strong else None,  # degrees: 0.25 pixels a pixel
            p=1.0,
        )
    ]
    if strong:
        steps += [
            kornia.RandomContrast(contrast=(1 - limits.contrast, 1 + limits.contrast), p=1.0),
            kornia.RandomBrightness(brightness=(1 - limits.brightness, 1 + limits.brightness), p=1.0),
            kornia.RandomGaussianNoise(std=limits.noise / 2, p=1.0),
            kornia.RandomErasing(scale=(9 / 128, 9 / 128), ratio=(1.0, 1.0), p=1.0),
        ]

    return kornia.AugmentationSequential(*steps, same_on_batch=False)


def milliseconds(change: Callable[[Tensor], Tensor], x: Tensor) -> float:
    change(x)
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        change(x)
        times.append(time.process_time() - start)

    return 1000 * median(times)


def distinct(change: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Return how many different pictures become of a batch of equal ones."""
    return len({row.numpy().tobytes() for row in change(x[:1].expand_as(x).contiguous())})


def main() -> None:
    facts = machine_facts()
    torch.manual_seed(0)  # kornia draws from the global generator
    print(f"{facts.get('cpu', 'this machine')}, one core, torch {torch.__version__}, kornia {version('kornia')}, median CPU of {REPEATS}\n")
    peers = {
        ("digits, weak", (1, 8, 16)): (lambda x: deform(x, WEAK, generator), deformed_by_kornia(strong=False)),
        ("digits, strong", (1, 8, 16)): (lambda x: deform(x, STRONG, generator), deformed_by_kornia(strong=True)),
        ("flip and reflected crop", (3, 32, 32)): (
            lambda x: crop_reflected(flip(x, generator), generator),
            kornia.AugmentationSequential(
                kornia.RandomHorizontalFlip(), kornia.RandomCrop((32, 32), padding=4, padding_mode="reflect"), same_on_batch=False
            ),
        ),
        ("RandAugment", (3, 32, 32)): (lambda x: rand_augment(x, generator), RandAugment(n=2, m=MAGNITUDE)),
        ("cut-out", (3, 32, 32)): (
            lambda x: cut_out(x, 16, GREY, generator),
            kornia.RandomErasing(scale=(0.25, 0.25), ratio=(1.0, 1.0), value=GREY, p=1.0),
        ),
    }
    rows = []
    for (name, shape), (ours, theirs) in peers.items():
        for n in (64, 448, 2048) if shape[0] == 1 else (64, 448):
            x = torch.rand((n, *shape), generator=generator)
            rows.append([name, n, milliseconds(ours, x), milliseconds(theirs, x), distinct(ours, x), distinct(theirs, x)])
    header = ["views", "pictures", "ms, ours", "ms, kornia", "different copies, ours", "different copies, kornia"]
    print(tabulate(rows, header, tablefmt="github", floatfmt=".1f"))


if __name__ == "__main__":
    main()
