"""Learning rates over a trial: a factor of the base rate as a function of the share of the steps that is done."""

from __future__ import annotations

import math
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["Schedule", "build_schedule", "rate_factor"]

Schedule = Literal["constant", "cosine", "partial_cosine"]


def rate_factor(progress: float, schedule: Schedule, warmup: float = 0.0) -> float:
    """
    Return what the base learning rate is multiplied with.

    ``cosine`` falls from 1 to 0 by half a period, ``partial_cosine`` is ``cos(7 pi / 16 progress)`` and ends at 0.195 (Sohn et al. 2020, arXiv:2001.07685).

    Args:
        progress: Steps done of all steps, in [0, 1].
        schedule: Which.
        warmup: The share of the steps in which the factor rises linearly from 0; the schedule covers the rest.
    """
    if progress < warmup:
        return progress / warmup
    rest = (progress - warmup) / (1 - warmup)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * rest))
    if schedule == "partial_cosine":
        return math.cos(7 / 16 * math.pi * rest)

    return 1.0


def build_schedule(optimizer: Optimizer, total_steps: int, schedule: Schedule, warmup: float = 0.0) -> LambdaLR:
    """Let :func:`rate_factor` set the rate of each step: 0 steps are done at the first; call ``step()`` behind each step of the optimiser."""
    return LambdaLR(optimizer, lambda step: rate_factor(min(step / total_steps, 1.0), schedule, warmup))
