"""
AugMix (Hendrycks et al. 2020, arXiv:1912.02781): mixtures of chains of simple operations, and a loss that holds the network's answers to them together.

Operations that look like the corruptions of a test (colour, contrast, brightness, sharpness) are left out, as published.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from harness import Search
from plugins.tasks.corruption_robustness.data import as_pictures, as_samples
from plugins.tasks.corruption_robustness.patching import float_bytes
from plugins.tasks.corruption_robustness.protocol import Hardened
from plugins.tasks.corruption_robustness.recipe import train_network

if TYPE_CHECKING:
    from harness import Run
    from harness.training.supervised import Batch, Training
    from plugins.tasks.corruption_robustness.protocol import RobustnessView

__all__ = ["OPERATIONS", "AugMix", "augmix_views", "jensen_shannon", "mixed"]

WIDTH = 3  # chains of a mixture
DEPTH = 3  # operations of a chain at most
LEVELS = 10
LEAST_LEVEL = 0.1
LEAST_P = 1e-7  # of the mean of probabilities, before its logarithm

Operation = Callable[[Image.Image, float, float], Image.Image]
"""Changes a picture by a level in (0, 10], with the sign -1 or 1 where it has a direction."""


def mixed(clean: Tensor, chains: Tensor, weights: Tensor, share: Tensor) -> Tensor:
    """
    Return ``(1 - m) x + m sum_i w_i chain_i(x)``.

    Args:
        clean: ``(..., c, h, w)``, x.
        chains: ``(..., 3, c, h, w)``.
        weights: ``(..., 3)``, w, with sum 1.
        share: ``(...)``, m in [0, 1].
    """
    m = share[..., None, None, None]

    return (1 - m) * clean + m * (weights[..., None, None, None] * chains).sum(dim=-4)


def jensen_shannon(*logits: Tensor) -> Tensor:
    """
    Return the mean over the batch of ``(1/J) sum_j KL(p_j || M)``, M the mean of the distributions, in [0, log J]; gradients go through all of them.

    Args:
        logits: ``(B, C)`` each, of the J views of the same samples.
    """
    p = torch.stack(logits).softmax(dim=2)
    log_mean = p.mean(dim=0).clamp(LEAST_P, 1).log()

    return torch.stack([kl_div(log_mean, each, reduction="batchmean") for each in p]).mean()


def augmix_views(x: Tensor, severity: float, rng: np.random.Generator) -> Tensor:
    """
    Draw a mixture for each sample: weights from Dirichlet(1, 1, 1), the share of the mixture from Beta(1, 1), three chains of one to three operations.

    Args:
        x: ``(B, channels, h, w)``, as :func:`plugins.tasks.corruption_robustness.data.as_samples` gives them.
        severity: The highest level, in (0, 10].
        rng: Decides every draw.
    """
    pictures = as_pictures(x)
    chains = np.stack([[_chain(picture, severity, rng) for _ in range(WIDTH)] for picture in pictures])
    weights = torch.from_numpy(rng.dirichlet(np.ones(WIDTH), len(x))).float()
    share = torch.from_numpy(rng.beta(1, 1, len(x))).float()
    samples = as_samples(chains.reshape(-1, *chains.shape[2:])).unflatten(0, (len(x), WIDTH))

    return mixed(x, samples, weights, share)


@dataclass
class AugMix:
    """
    Fine-tune the pretrained network on ``CE(clean) + weight JS(clean, mixture, other mixture)``; no corruption is known.

    Args:
        severity: The highest level of an operation, in (0, 10].
        weight: Of the divergence; 0 is the cross entropy of the clean pictures.
    """

    severity: Annotated[float, Ge(LEAST_LEVEL), Le(LEVELS), Search(choices=(1.0, 3.0, 5.0))] = 3.0
    weight: Annotated[float, Ge(0), Search(choices=(1.0, 3.0, 12.0))] = 12.0

    def fit(self, data: RobustnessView, run: Run) -> Hardened:
        """Train on three views of each picture, the draws by the stream ``mixtures``."""
        rng = run.rng("mixtures")

        def loss(training: Training, batch: Batch) -> Tensor:
            x = batch.x.cpu()
            views = torch.cat([x, augmix_views(x, self.severity, rng), augmix_views(x, self.severity, rng)])
            clean, *others = training.logits(views.to(batch.x.device)).chunk(3)

            return cross_entropy(clean, batch.y) + self.weight * jensen_shannon(clean, *others)

        network = train_network(copy.deepcopy(data.pretrained), data.fitting(), run, loss)

        return Hardened(lambda _: network, float_bytes(network.state_dict()))


def _chain(picture: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Apply one to three operations to ``(h, w, channels)`` uint8."""
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    for _ in range(rng.integers(1, DEPTH + 1)):
        operation = OPERATIONS[list(OPERATIONS)[rng.integers(len(OPERATIONS))]]
        image = operation(image, rng.uniform(LEAST_LEVEL, severity), 1.0 if rng.random() < 0.5 else -1.0)

    return np.asarray(image).reshape(picture.shape)


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR)


def _rotate(image: Image.Image, level: float, sign: float) -> Image.Image:
    return image.rotate(sign * int(level * 30 / LEVELS), resample=Image.Resampling.BILINEAR)


def _shear_x(image: Image.Image, level: float, sign: float) -> Image.Image:
    return _affine(image, 1, sign * level * 0.3 / LEVELS, 0, 0, 1, 0)


def _shear_y(image: Image.Image, level: float, sign: float) -> Image.Image:
    return _affine(image, 1, 0, 0, sign * level * 0.3 / LEVELS, 1, 0)


def _translate_x(image: Image.Image, level: float, sign: float) -> Image.Image:
    return _affine(image, 1, 0, sign * int(level * (image.width / 3) / LEVELS), 0, 1, 0)


def _translate_y(image: Image.Image, level: float, sign: float) -> Image.Image:
    return _affine(image, 1, 0, 0, 0, 1, sign * int(level * (image.height / 3) / LEVELS))


OPERATIONS: dict[str, Operation] = {
    "autocontrast": lambda image, level, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, level, sign: ImageOps.equalize(image),
    "posterize": lambda image, level, sign: ImageOps.posterize(image, max(4 - int(level * 4 / LEVELS), 1)),
    "rotate": _rotate,
    "solarize": lambda image, level, sign: ImageOps.solarize(image, 256 - int(level * 256 / LEVELS)),
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
