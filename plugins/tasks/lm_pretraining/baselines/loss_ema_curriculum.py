"""A curriculum by the moving average of the losses: SuperLoss (Castells, Weinzaepfel and Revaud, NeurIPS 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from scipy.special import lambertw
from torch import Tensor

from harness import Search
from plugins.tasks.lm_pretraining.protocol import pretrain

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_pretraining.protocol import BatchLosses, PretrainingView, Trained

__all__ = ["LossEmaCurriculum", "confidence"]

LEAST = -1 / math.e + 1e-16  # W is real from -1/e on, where scipy has no number for it


def confidence(losses: Tensor, threshold: float, regularisation: float) -> Tensor:
    """
    Return ``exp(-W(max(-2/e, (l - τ) / λ) / 2))`` with Lambert's W: ``(M,)``, without gradient.

    It minimises ``(l - τ) σ + λ (log σ)²`` over σ: 1 for a loss at the threshold, up to e below it, towards 0 above it.

    Args:
        losses: ``(M,)``.
        threshold: τ.
        regularisation: λ, above 0; the weights are the more alike, the greater it is.
    """
    distance = (losses.detach().double().cpu().numpy() - threshold) / regularisation

    return torch.from_numpy(np.exp(-lambertw(np.maximum(LEAST, distance / 2)).real)).to(losses)


@dataclass
class LossEmaCurriculum:
    """
    Minimise the mean of ``σ_i l_i``, with the confidence σ of each sample against an exponential moving average of the batches' mean losses.

    Args:
        regularisation: λ, 1 in the authors' code by default.
        decay: Of the moving average, 0.9 in the authors' code; it starts at the first batch's mean.
    """

    regularisation: Annotated[float, Gt(0), Search(0.1, 10.0, log=True)] = 1.0
    decay: Annotated[float, Ge(0), Lt(1)] = 0.9

    def fit(self, data: PretrainingView, run: Run) -> Trained:
        """Train the model."""
        average: float | None = None

        def loss(losses: BatchLosses) -> Tensor:
            nonlocal average
            mean = losses.samples.mean
            now = float(mean.detach().mean())
            average = now if average is None else self.decay * average + (1 - self.decay) * now

            return (confidence(mean, average, self.regularisation) * mean).mean()

        return pretrain(data, run, loss)
