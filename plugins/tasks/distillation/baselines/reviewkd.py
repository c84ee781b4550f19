"""ReviewKD (Chen et al. 2021, arXiv:2104.09044): each stage of the teacher is foreseen from that stage of the student and all deeper ones, fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, interpolate, mse_loss

from harness import Search, TrialUnsupported
from harness.training.fitting import build_network
from harness.training.seeding import build_seeded
from plugins.tasks.distillation.baselines.maps import MOST_STAGES
from plugins.tasks.distillation.protocol import stage_shapes, train_student

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["Fusion", "Review", "ReviewKD", "pyramid_loss"]

MOST_CHANNELS = 512  # of what is fused
POOLED = (4, 2, 1)


def pyramid_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """
    Return the mean squared difference of two maps ``(N, c, h, w)`` and of their averages to 4x4, 2x2 and 1x1, as far as they are higher; a scalar.

    The mean over these sizes is weighted, by 1, 1/2, 1/4 and so on in the order of those that there are.
    """
    sizes = [size for size in POOLED if size < student.shape[2]]
    terms = [
        mse_loss(student, teacher),
        *(mse_loss(adaptive_avg_pool2d(student, size), adaptive_avg_pool2d(teacher, size)) for size in sizes),
    ]
    weights = torch.tensor([0.5**i for i in range(len(terms))], dtype=student.dtype, device=student.device)

    return (weights * torch.stack(terms)).sum() / weights.sum()


class Fusion(nn.Module):
    """
    Fuse a stage of the student with what was fused of the deeper ones, and foresee the teacher's.

    Args:
        n: Channels of the student's stage.
        m: Channels of the teacher's.
        channels: Of what is fused.
        deepest: Whether there is nothing deeper.
    """

    def __init__(self, n: int, m: int, channels: int, deepest: bool) -> None:
        super().__init__()
        reduce, foresee = nn.Conv2d(n, channels, 1, bias=False), nn.Conv2d(channels, m, 3, padding=1, bias=False)
        for convolution in (reduce, foresee):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
        self.reduce = nn.Sequential(reduce, nn.BatchNorm2d(channels))
        self.attend = None if deepest else nn.Sequential(nn.Conv2d(2 * channels, 2, 1), nn.Sigmoid())
        self.foresee = nn.Sequential(foresee, nn.BatchNorm2d(m))

    def forward(self, stage: Tensor, deeper: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """
        Return what is foreseen, ``(N, m, *size)``, and what was fused, ``(N, channels, h, w)``.

        Args:
            stage: ``(N, n, h, w)``.
            deeper: ``(N, channels, ...)``, fused of the deeper stages; ``None`` for the deepest.
            size: Height and width of the teacher's stage.
        """
        fused = self.reduce(stage)
        if self.attend is not None and deeper is not None:
            deeper = interpolate(deeper, fused.shape[2:])
            shares = self.attend(torch.cat([fused, deeper], dim=1))
            fused = shares[:, :1] * fused + shares[:, 1:] * deeper
        resized = fused if fused.shape[2:] == size else interpolate(fused, size)

        return self.foresee(resized), fused


class Review(nn.Module):
    """
    The fusions of all stages.

    Args:
        student: Shapes ``(c, h, w)`` of the student's maps, the first stage first.
        teacher: Of the teacher's.
    """

    def __init__(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        super().__init__()
        last = len(student) - 1
        channels = min(MOST_CHANNELS, student[-1][0])
        self.fusions = nn.ModuleList(Fusion(s[0], t[0], channels, i == last) for i, (s, t) in enumerate(zip(student, teacher, strict=True)))

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Return the sum over the stages of :func:`pyramid_loss`, from the deepest stage on."""
        losses, fused = [], None
        for fusion, s, t in reversed(list(zip(self.fusions, student, teacher, strict=True))):
            foreseen, fused = fusion(s, fused, t.shape[2:])
            losses.append(pyramid_loss(foreseen, t))

        return torch.stack(losses).sum()


@dataclass
class ReviewKD:
    """
    Minimise ``CE + min(epoch / warmup, 1) b`` times the loss of :class:`Review`, epochs counted from 0; both networks must be convolutional.

    Args:
        weight: b; 0.6 to 8 for pairs of networks on CIFAR-100.
        warmup_epochs: Until the loss has its full weight.
    """

    weight: Annotated[float, Ge(0), Search(0.03, 10.0, log=True)] = 1.0
    warmup_epochs: Annotated[int, Ge(0)] = 20

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train student and fusions; these are dropped."""
        shapes = stage_shapes(data, run)
        count = min(len(shapes.student), len(shapes.teacher), MOST_STAGES)
        student, teacher = shapes.student[-count:], shapes.teacher[-count:]
        if any(len(shape) != 3 for shape in (*student, *teacher)):
            raise TrialUnsupported("this method compares maps of rows and columns: take a convolutional student and teacher ('model')")
        pooled = [torch.Size((network.n_features, 1, 1)) for network in (build_network(data, run), data.teacher)]
        review = build_seeded(lambda: Review([*student, pooled[0]], [*teacher, pooled[1]]), run.torch_rng("regressor")).to(run.device)

        def loss(output: Output, batch: Batch) -> Tensor:
            maps = [[*each.maps[-count:], each.features[:, :, None, None]] for each in (output, batch.require_teacher())]
            warmth = min(batch.epoch / self.warmup_epochs, 1.0) if self.warmup_epochs > 0 else 1.0

            return cross_entropy(output.logits, batch.y) + warmth * self.weight * review(*maps)

        return train_student(data, run, loss, beside=review)
