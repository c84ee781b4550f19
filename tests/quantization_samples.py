"""Small pictures, a pretrained network of theirs, and trials of the task ``quantization`` for tests."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

import torch

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.tasks.quantization.protocol import QuantizationProtocol

SMALL = {
    "patch": 4,
    "width": 8,
    "blocks": 2,
    "heads": 2,
    "batch_size": 20,
    "pretrain_epochs": 10,
    "pretrain_learning_rate": 1e-2,
    "calibration": 64,
}


def cases(path):
    """Return the reference numbers of a file by name."""
    return {case["name"]: case for case in json.loads(Path(path).read_text(encoding="utf-8"))["cases"]}


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, rtol=1e-9):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), tensor(expected), rtol=rtol, atol=1e-12)


@functools.cache
def pictures(n=240, side=8):
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


@functools.cache
def pretrained_folder(blocks=2, seed=0):
    """Pretrain once for all tests of a process."""
    folder = Path(tempfile.mkdtemp(prefix="quantization"))
    QuantizationProtocol(**SMALL | {"blocks": blocks}).build_artifact(pictures(), Run(seed, Budget()), folder)

    return folder


def view(blocks=2, **settings):
    """Give what a method sees."""
    run, protocol = Run(0, Budget(), artifact=pretrained_folder(blocks)), QuantizationProtocol(**SMALL | {"blocks": blocks} | settings)

    return protocol.view(pictures(), protocol.load_pretrained(pictures(), run), run)


def confronted(method, privileges=(), epochs=2, blocks=1, **settings):
    """Let a method meet the pictures; returns the outcome and the run."""
    run = Run(0, Budget(epochs=epochs), artifact=pretrained_folder(blocks))

    return QuantizationProtocol(**SMALL | {"blocks": blocks} | settings).confront(method, pictures(), run, privileges), run
