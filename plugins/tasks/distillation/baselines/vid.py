"""Variational information distillation (Ahn et al. 2019, arXiv:1904.05835): foresee the teacher's stages as normal variables with means and variances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from harness import Search, TrialUnsupported
from harness.training.seeding import build_seeded
from plugins.tasks.distillation.baselines.maps import MOST_STAGES, same_size, stage_pairs
from plugins.tasks.distillation.protocol import stage_shapes, train_student

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["VID", "StageRegressor", "negative_log_density"]

SMALLEST_VARIANCE = 1e-5
FIRST_VARIANCE = 5.0


def negative_log_density(mean: Tensor, variance: Tensor, values: Tensor) -> Tensor:
    """
    Return the mean of ``((mean - value)^2 / variance + log variance) / 2``, a scalar: that of a normal density but for its constant.

    Args:
        mean: ``(N, c, h, w)``.
        variance: ``(c,)``, above 0.
        values: ``(N, c, h, w)``.
    """
    of_channel = variance[:, None, None]

    return ((mean - values) ** 2 / of_channel + of_channel.log()).mean() / 2


class StageRegressor(nn.Module):
    """
    Three 1x1 convolutions with ReLUs between for the mean, and a variance for each channel.

    Args:
        n: Channels of the student's stage.
        m: Channels of the teacher's.
    """

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(channels, m, 1, bias=False) for channels in (n, m, m)]
        self.mean = nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), convolutions[2])
        self.rho = nn.Parameter(torch.full((m,), math.log(math.expm1(FIRST_VARIANCE - SMALLEST_VARIANCE))))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return :func:`negative_log_density` of the teacher's maps."""
        student, teacher = same_size(student, teacher)

        return negative_log_density(self.mean(student), softplus(self.rho) + SMALLEST_VARIANCE, teacher)


@dataclass
class VID:
    """
    Minimise ``CE + w sum negative_log_density`` over the stages; both networks must be convolutional.

    Args:
        weight: w.
    """

    weight: Annotated[float, Ge(0), Search(0.003, 3.0, log=True)] = 1.0

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train student and regressors; the regressors are dropped."""
        student, teacher = stage_shapes(data, run)
        count = min(len(student), len(teacher), MOST_STAGES)
        if any(len(shape) != 3 for shape in (*student[-count:], *teacher[-count:])):
            raise TrialUnsupported("this method compares maps of rows and columns: take a convolutional student and teacher ('model')")
        channels = [(s[0], t[0]) for s, t in zip(student[-count:], teacher[-count:], strict=True)]
        regressors = build_seeded(lambda: nn.ModuleList(StageRegressor(n, m) for n, m in channels), run.torch_rng("regressor")).to(
            run.device
        )

        def loss(output: Output, batch: Batch) -> Tensor:
            pairs = stage_pairs(output, batch.require_teacher())
            densities = torch.stack([foresee(s, t) for foresee, (s, t) in zip(regressors, pairs, strict=True)])

            return cross_entropy(output.logits, batch.y) + self.weight * densities.sum()

        return train_student(data, run, loss, beside=regressors)
