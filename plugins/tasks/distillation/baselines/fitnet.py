"""FitNets (Romero et al. 2015, arXiv:1412.6550): a convolution that is trained along must foresee a middle stage of the teacher from one of the student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from harness import Search, TrialUnsupported
from harness.training.seeding import build_seeded
from plugins.tasks.distillation.protocol import stage_shapes, train_student

if TYPE_CHECKING:
    import torch

    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["FitNet", "hint_regressor"]


def hint_regressor(student: torch.Size, teacher: torch.Size) -> nn.Module:
    """
    Build the map from a student's stage to a teacher's: a convolution that brings it to channels and size, batch normalisation, ReLU.

    Args:
        student: ``(c, h, w)``.
        teacher: ``(c', h', w')``, of the same size, or half or twice as high and wide.

    Raises:
        TrialUnsupported: The sizes stand in no such ratio.
    """
    (n, *size), (m, *wanted) = student, teacher
    if size == wanted:
        convolution: nn.Module = nn.Conv2d(n, m, 1)
    elif [(side + 1) // 2 for side in size] == wanted:
        convolution = nn.Conv2d(n, m, 3, stride=2, padding=1)
    elif [2 * side for side in size] == wanted:
        convolution = nn.ConvTranspose2d(n, m, 4, stride=2, padding=1)
    else:
        raise TrialUnsupported(
            f"the hint of the student is {size[0]}x{size[1]}, that of the teacher {wanted[0]}x{wanted[1]}: neither equal, half nor twice"
        )

    return nn.Sequential(convolution, nn.BatchNorm2d(m), nn.ReLU())


@dataclass
class FitNet:
    """
    Minimise ``CE + w MSE`` between the regressor of the student's hint and the teacher's; both networks must be convolutional.

    Args:
        weight: w.
        hint: Which stage is compared, counted from 0.
    """

    weight: Annotated[float, Ge(0), Search(0.1, 300.0, log=True)] = 100.0
    hint: Annotated[int, Ge(0)] = 2

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train student and regressor; the regressor is dropped."""
        student, teacher = stage_shapes(data, run)
        stages = min(len(student), len(teacher))
        if self.hint >= stages:
            raise ValueError(f"hint is {self.hint}, and there are {stages} stages to compare; take a smaller one")
        pair = student[self.hint], teacher[self.hint]
        if any(len(shape) != 3 for shape in pair):
            raise TrialUnsupported("this method compares maps of rows and columns: take a convolutional student and teacher ('model')")
        regressor = build_seeded(lambda: hint_regressor(*pair), run.torch_rng("regressor")).to(run.device)

        def loss(output: Output, batch: Batch) -> Tensor:
            foreseen = regressor(output.maps[self.hint])

            return cross_entropy(output.logits, batch.y) + self.weight * mse_loss(foreseen, batch.require_teacher().maps[self.hint])

        return train_student(data, run, loss, beside=regressor)
