"""Learning rates over a trial, as factors of the base rate: by the share of the steps that is done, or by the step where none of few is to be lost."""

from __future__ import annotations

import math
import warnings
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["Decay", "Schedule", "build_schedule", "decayed", "rate_factor", "step_factor"]

Schedule = Literal["constant", "cosine", "partial_cosine"]
Decay = Literal["constant", "cosine", "linear", "partial_cosine"]


def decayed(progress: float, schedule: Decay, final: float = 0.0) -> float:
    """
    Return what is left of a rate, without warm-up.

    ``cosine`` falls from 1 by half a period, ``linear`` by a line, ``partial_cosine`` is ``cos(7 pi / 16 progress)`` and ends at 0.195 (Sohn et al. 2020,
    arXiv:2001.07685).

    Args:
        progress: In [0, 1].
        schedule: Which.
        final: Where the first two end, in [0, 1].
    """
    if schedule == "constant":
        return 1.0
    if schedule == "partial_cosine":
        return math.cos(7 / 16 * math.pi * progress)
    left = 0.5 * (1 + math.cos(math.pi * progress)) if schedule == "cosine" else 1 - progress

    return final + (1 - final) * left


def rate_factor(progress: float, schedule: Schedule, warmup: float = 0.0) -> float:
    """
    Return what the base learning rate is multiplied with where a share of the steps is done.

    Args:
        progress: Steps done of all steps, in [0, 1].
        schedule: As in :func:`decayed`.
        warmup: The share of the steps in which the factor rises linearly from 0; the schedule covers the rest.
    """
    if progress < warmup:
        return progress / warmup

    return decayed((progress - warmup) / (1 - warmup), schedule)


def step_factor(step: int, steps: int, schedule: Decay, warmup: float, final: float = 0.0) -> float:
    """
    Return what the highest learning rate is multiplied with in a step: a line up over the warm-up, then the schedule down towards ``final``.

    No step has a factor of 0, unlike in :func:`rate_factor`: runs of language models are short, and none of their steps is to be lost.

    Args:
        step: Counted from 0.
        steps: All of them.
        schedule: Of the steps behind the warm-up, as in :func:`decayed`.
        warmup: Share of the steps, in [0, 1]; a part of a step counts as one.
        final: The factor that the schedule tends to, in [0, 1]; a constant one has none.

    >>> [step_factor(step, 4, "linear", 0.25) for step in range(4)]
    [1.0, 1.0, 0.6666666666666667, 0.33333333333333337]
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising

    return decayed((step - rising) / max(steps - rising, 1), schedule, final)  # a scheduler of torch asks for one step more than there are


def build_schedule(optimizer: Optimizer, total_steps: int, schedule: Schedule, warmup: float = 0.0) -> LambdaLR:
    """Let :func:`rate_factor` set the rate of each step. Deprecated: :class:`harness.training.descent.Descent` does so itself."""
    warnings.warn("build_schedule goes with version 0.3; take harness.training.descent.Descent", DeprecationWarning, stacklevel=2)

    return LambdaLR(optimizer, lambda step: rate_factor(min(step / total_steps, 1.0), schedule, warmup))
