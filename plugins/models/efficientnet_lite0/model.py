"""Loads EfficientNet-Lite0; the network itself is that of the package ``efficientnet-lite-pytorch``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from harness.data import load
from plugins.models.efficientnet_lite0 import EFFICIENTNET_LITE0

__all__ = ["features", "load_efficientnet_lite0", "normalise", "read_checkpoint"]

COUNTERS = "num_batches_tracked"


def read_checkpoint(folder: Path) -> dict[str, np.ndarray]:
    """Return the float32 arrays of the checkpoint by the names of the network's state, its counters of batches left out."""
    state = torch.load(next(folder.rglob("efficientnet-lite0-*.pth")), map_location="cpu", weights_only=True)

    return {name: value.numpy() for name, value in state.items() if not name.endswith(COUNTERS)}


def load_efficientnet_lite0() -> nn.Module:
    """
    Return the trained network in evaluation mode: :func:`normalise`-d pictures ``(N, 3, H, W)`` to logits ``(N, 1000)``.

    Raises:
        DataError: Its weights cannot be had.
    """
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    counters = {name: value for name, value in model.state_dict().items() if name.endswith(COUNTERS)}
    weights = {name: torch.from_numpy(np.array(value)) for name, value in load(EFFICIENTNET_LITE0).items()}
    model.load_state_dict(weights | counters)

    return model.eval()


def normalise(images: Tensor, size: int = 224) -> Tensor:
    """Turn ``(N, H, W, 3)`` in 0..255 into the inputs that the weights were trained on: ``(N, 3, size, size)`` with ``(x - 127) / 128``."""
    scaled = (images.permute(0, 3, 1, 2).float() - 127) / 128

    return nn.functional.interpolate(scaled, size=(size, size), mode="bicubic", align_corners=False, antialias=True)


@torch.no_grad()
def features(model: nn.Module, x: Tensor) -> Tensor:
    """Return what the last layer sees of normalised pictures, ``(N, 1280)``."""
    return model.extract_features(x).mean(dim=(2, 3))
